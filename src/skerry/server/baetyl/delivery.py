"""What nodes fetch: applications, configurations and secrets, each in the very version that was asked for.

A version is a revision of the log, so it is read from the log's own history, as it was at that revision: a node that
asks a moment after a change gets what it was told of, and all parts of it fit together. History that is compacted is
gone (404); the node's next report tells it the present version.

Beside upstream, whose nodes may read every secret of their namespace: a node gets what its applications mount, and
nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from skerry.api.baetyl_applications import APPLICATION, Application
from skerry.api.baetyl_configurations import CONFIGURATION, OBJECT_PREFIX, Configuration, ConfigurationObject
from skerry.api.baetyl_secrets import DESCRIPTION_ANNOTATION
from skerry.api.baetyl_v1alpha1 import is_system
from skerry.api.core_v1 import SECRET, Secret
from skerry.api.errors import Expired, NotFound, Timeout
from skerry.api.kinds import Kind
from skerry.api.model import Document, Resource, from_document
from skerry.fleet.applications import delivered, facts_of, generated_configurations
from skerry.fleet.desire import number
from skerry.fleet.index import Source
from skerry.server.baetyl import errors
from skerry.server.baetyl.fleet import Fleet
from skerry.server.verbs.requests import Target
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.verbs import Verbs

#: Resources of one question; agents ask for all of an application's at once.
INFOS_MAX = 1000

Place = tuple[str, str]
"""Namespace and name of a node."""


@dataclass(frozen=True, slots=True)
class Info:
    """One resource that a node asks for.

    Attributes:
        kind: as it was spelled.
        version: a revision; 0 for the present one.
    """

    kind: str
    name: str
    version: int


def read_infos(document: Document) -> list[Info]:
    """Read what a node asks for; raises BaetylError."""
    given = document.get("infos")
    if not isinstance(given, list) or len(given) > INFOS_MAX:
        raise errors.invalid(f"infos must be an array of at most {INFOS_MAX}")
    infos = []
    for index, each in enumerate(given):
        if not isinstance(each, dict) or not all(isinstance(each.get(name), str) for name in ("kind", "name")):
            raise errors.invalid(f"infos[{index}] must have a kind and a name")
        infos.append(Info(each["kind"], each["name"], number(str(each.get("version", "")))))
    return infos


#: Writes the URL of an object from what its configuration says.
ObjectUrls = Callable[[ConfigurationObject], str]


class Delivery:
    """Answers what one node asks for.

    Args:
        verbs: reads.
        fleet: knows what the node is to run.
        node: who asks.
        url_of: makes the URLs of objects.
    """

    def __init__(self, verbs: Verbs, fleet: Fleet, node: Place, url_of: ObjectUrls) -> None:
        self._verbs = verbs
        self._fleet = fleet
        self._namespace = node[0]
        self._url_of = url_of
        desire = fleet.index.desire(node)
        self._apps = frozenset(each.name for each in (*desire.apps, *desire.sysapps))

    async def values(self, infos: Sequence[Info]) -> list[Document]:
        """Return all that is asked for.

        Raises:
            NotFound: one of them is not there, or is not this node's.
            ApiError: a kind is none that nodes ask for (500, as upstream).
        """
        return [await self._value(each) for each in infos]

    async def _value(self, info: Info) -> Document:
        readers: Mapping[str, Callable[[Info], Awaitable[Document]]] = {
            "application": self._application,
            "app": self._application,
            "configuration": self._configuration,
            "config": self._configuration,
            "secret": self._secret,
        }
        reader = readers.get(info.kind)
        if reader is None:
            raise errors.invalid(f"infos: nodes do not ask for resources of the kind {info.kind!r}")
        try:
            value = await reader(info)
        except (NotFound, Expired, Timeout) as error:
            raise errors.not_found(info.kind, info.name, self._namespace) from error
        return {"kind": info.kind, "name": info.name, "version": value["version"], "value": value}

    async def _application(self, info: Info) -> Document:
        if info.name not in self._apps:
            raise errors.not_found("application", info.name)
        version = info.version or self._fleet.index.version_of((self._namespace, info.name))
        application = await self._at(Application, APPLICATION, info.name, version)
        revisions = {}
        for source in facts_of(application).mounts:
            kind: Kind[Any] = CONFIGURATION if source.sort == "configuration" else SECRET
            revisions[source] = (await self._stored(kind, source.name, version)).revision
        return delivered(application, version, revisions)

    async def _configuration(self, info: Info) -> Document:
        if application := self._fleet.generated_by((self._namespace, info.name)):
            return await self._generated(info, application)
        self._require_mounted(Source("configuration", self._namespace, info.name))
        config = await self._at(Configuration, CONFIGURATION, info.name, info.version)
        objects = {f"{OBJECT_PREFIX}{name}": self._object(each) for name, each in (config.objects or {}).items()}
        return {**_head(config), "description": config.description, "data": {**(config.data or {}), **objects}}

    async def _generated(self, info: Info, application: str) -> Document:
        """Return a configuration that is made of an application, whose version it has."""
        if application not in self._apps:
            raise errors.not_found("configuration", info.name)
        version = info.version or self._fleet.index.version_of((self._namespace, application))
        source = await self._at(Application, APPLICATION, application, version)
        data = generated_configurations(source)[info.name]
        return {**_head(source), "name": info.name, "version": str(version), "description": "", "data": data}

    async def _secret(self, info: Info) -> Document:
        self._require_mounted(Source("secret", self._namespace, info.name))
        secret = await self._at(Secret, SECRET, info.name, info.version)
        description = (secret.metadata.annotations or {}).get(DESCRIPTION_ANNOTATION, "")
        return {**_head(secret), "description": description, "data": dict(secret.data or {})}

    def _require_mounted(self, source: Source) -> None:
        if self._apps.isdisjoint(self._fleet.index.users_of(source)):
            raise errors.not_found(source.sort, source.name)

    def _object(self, item: ConfigurationObject) -> str:
        told = {"md5": item.md5, "url": self._url_of(item), "unpack": item.unpack}
        return orjson.dumps({name: value for name, value in told.items() if value}).decode()

    async def _at(self, model: type[Any], kind: Kind[Any], name: str, revision: int) -> Any:
        return from_document(model, (await self._stored(kind, name, revision)).document)

    async def _stored(self, kind: Kind[Any], name: str, revision: int) -> Stored:
        """Return an object as it was at a revision; mostly it has not changed since, and that is the cheap way."""
        target = Target(kind, self._namespace, name)
        try:
            newest = await self._verbs.get(target)
        except NotFound:
            if not revision:
                raise
        else:
            if not revision or newest.revision <= revision:
                return newest
        return await self._verbs.get_at(target, revision)


def _head(obj: Resource) -> Document:
    meta = obj.metadata
    return {
        "name": obj.name,
        "namespace": obj.namespace,
        "labels": meta.labels or {},
        "createTime": meta.creation_timestamp,
        "updateTime": meta.creation_timestamp,
        "version": meta.resource_version,
        "system": is_system(obj),
    }
