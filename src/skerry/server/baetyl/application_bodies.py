"""Applications as this door reads them: a body, what it is based on or copied from, and what it refers to.

Owns the merge and the errors that have words of their own. All other rules are the kind's, which kubectl meets as well.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from skerry.api.baetyl_application_rules import FUNCTION_RUNTIMES
from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import APPLICATION, Application
from skerry.api.baetyl_configurations import Configuration
from skerry.api.core_v1 import Secret
from skerry.api.decoding import decode
from skerry.api.errors import NotFound
from skerry.api.model import Document, to_document
from skerry.fleet.applications import facts_of, written_by_user
from skerry.server.baetyl import errors
from skerry.server.baetyl.bodies import Body, Texts
from skerry.server.baetyl.door import Asked

Items = list[dict[str, Any]]

#: Members of a body that go into the spec; whether an application is the system's is not for clients to say.
_SPEC_FIELDS = {info.alias or name for name, info in ApplicationSpec.model_fields.items()} - {"system"}


class ApplicationBody(Body):
    """An application as it is created or replaced; its other members are those of the kind's spec."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="allow", hide_input_in_errors=True)

    name: str = ""
    labels: Texts = None
    type: str | None = None
    selector: str | None = None
    description: str | None = None
    services: Items | None = None
    volumes: Items | None = None
    registries: Items | None = None
    init_services: Items | None = None

    def spec(self) -> Document:
        """Return the members that are given of the spec."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        return {name: value for name, value in given.items() if name in _SPEC_FIELDS}


async def created(asked: Asked, body: ApplicationBody) -> Application:
    """Return the new application that a request asks for.

    Raises:
        BaetylError, Invalid: it breaks a rule.
        NotFound: what it is based on, copied from or refers to is not there.
    """
    spec, labels = body.spec(), body.labels
    if source := asked.query("from"):
        copied = await asked.objects.get(Application, source)
        spec = {**_copied(copied), **spec}
        labels = (copied.metadata.labels if labels is None else labels) or {}
    if name := asked.query("base"):
        base = await asked.objects.get(Application, name)
        if base.spec.type != spec.get("type", "container"):
            raise errors.invalid(f"the base {name} is of the type {base.spec.type}")
        below = _copied(base)
        for part in ("services", "volumes"):
            spec[part] = [*below.get(part, ()), *spec.get(part, ())]
    return await _checked(asked, body.name, spec, labels)


async def replaced(asked: Asked, body: ApplicationBody, old: Application) -> Application:
    """Return the state that a request wants in place of a stored one; raises as `created`."""
    given = {"type": old.spec.type, **body.spec(), **({"system": True} if old.spec.system else {})}
    return await _checked(asked, old.name, given, body.labels)


def _copied(application: Application) -> Document:
    document = to_document(application.spec)
    document.pop("system", None)
    return document


async def _checked(asked: Asked, name: str, spec: Document, labels: Texts) -> Application:
    certificates = _certificates(spec.get("volumes") or [])
    spec = {**spec, "volumes": [_volume(item) for item in spec.get("volumes") or ()]}
    for part in ("services", "initServices", "volumes"):
        _require_own_names(part, spec.get(part) or ())
    metadata = {"name": name, "namespace": asked.namespace, "labels": labels}
    given = {member: value for member, value in spec.items() if value != []}  # so that an equal update changes nothing
    application = decode(APPLICATION, {"metadata": metadata, "spec": given}).object
    application.spec = written_by_user(application.spec)
    _require_mounted_volumes(application.spec)
    await _require_references(asked, application, certificates)
    return application


def _volume(item: Any) -> Any:
    """Return a volume as it is stored: a certificate is a secret, and versions are not for clients to say."""
    if not isinstance(item, dict):
        return item
    volume = {name: value for name, value in item.items() if name != "certificate"}
    if item.get("certificate") and not volume.get("secret"):
        volume["secret"] = item["certificate"]
    for part in ("config", "secret"):
        if isinstance(volume.get(part), dict):
            volume[part] = {name: value for name, value in volume[part].items() if name != "version"}
    return volume


def _require_own_names(part: str, items: Any) -> None:
    seen: set[str] = set()
    for item in items:
        name = item.get("name") if isinstance(item, dict) else None
        if isinstance(name, str) and name in seen:
            raise errors.BaetylError("ErrAppNameConflict", f"The name ({name}) is given twice among the {part}.")
        seen.add(name if isinstance(name, str) else "")


def _require_mounted_volumes(spec: ApplicationSpec) -> None:
    volumes = {volume.name for volume in spec.volumes or ()}
    for service in (*(spec.services or ()), *(spec.init_services or ())):
        for mount in service.volume_mounts or ():
            if mount.name not in volumes and spec.type in {"container", "function"}:
                message = f"The volume ({mount.name}) that the service ({service.name}) mounts is not found."
                raise errors.BaetylError("ErrVolumeNotFoundWhenMount", message)


def _certificates(items: Items) -> set[str]:
    """Return the secrets that volumes name as certificates."""
    named = (item.get("certificate") for item in items)
    return {str(each.get("name")) for each in named if isinstance(each, dict)}


async def _require_references(asked: Asked, application: Application, certificates: AbstractSet[str]) -> None:
    """Refuse, as not found, an application that refers to what is not there."""
    for runtime in _runtimes(application.spec):
        if runtime and runtime not in FUNCTION_RUNTIMES:
            raise errors.not_found("runtime", runtime)
    registries = {registry.name for registry in application.spec.registries or ()}
    for source in sorted(facts_of(application).mounts):
        try:
            await asked.objects.get(Configuration if source.sort == "configuration" else Secret, source.name)
        except NotFound as error:
            sorts = {**dict.fromkeys(certificates, "certificate"), **dict.fromkeys(registries, "registry")}
            sort = "config" if source.sort == "configuration" else sorts.get(source.name, "secret")
            raise errors.not_found(sort, source.name, asked.namespace) from error


def _runtimes(spec: ApplicationSpec) -> Iterator[str]:
    for service in spec.services or ():
        if service.function_config:
            yield service.function_config.runtime
