"""cloud.baetyl.io/v1alpha1: configurations, which are files for applications: their text here, or objects elsewhere.

Owns the fields and rules of configurations. Does not own the bytes of objects, nor the URLs under which nodes fetch
them. Keys of object storages are sealed at rest and never shown; an update that leaves them out keeps them.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.baetyl_v1alpha1 import GROUP, VERSION, name_problems
from skerry.api.fields import FieldError, forbidden, invalid, not_supported, required
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import SECRET_FIELD, WRITE_ONLY, Model, Resource
from skerry.api.names import data_key_errors

#: Upstream stores objects under keys with this prefix, and sends them to nodes so.
OBJECT_PREFIX = "_object_"
#: How an archive is unpacked on a node.
UNPACKED = ("zip", "tar", "tgz")
#: An object that is fetched from a plain URL.
HTTP_SOURCE = "http"
#: An object that the control plane itself keeps; `object` is its digest.
KEPT_SOURCE = "skerry"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

StorageKey = Annotated[str | None, SECRET_FIELD, WRITE_ONLY]


class ConfigurationObject(Model):
    """A file that is kept elsewhere: in an object storage, or at a URL."""

    type: Literal["object", "function"] = "object"
    """object, or function for the code of one."""
    source: Annotated[str, Field(min_length=1)]
    """Where it is: http, skerry for this control plane, or the name of a storage such as awss3, minio or baidubos."""
    url: str | None = None
    """For the source http: its URL."""
    endpoint: str | None = None
    """URL of the storage."""
    address_format: str | None = None
    """Where the bucket stands in URLs of the storage: pathStyle, or virtualHosted, which is the default."""
    region: str | None = None
    """Region of the storage."""
    bucket: str | None = None
    """Bucket of the storage."""
    object: str | None = None
    """Name in the bucket."""
    ak: StorageKey = None
    """Access key of the storage; never shown."""
    sk: StorageKey = None
    """Secret key of the storage; never shown."""
    md5: str | None = None
    """MD5 of the content, in hex; checked by the node."""
    unpack: str | None = None
    """zip, tar or tgz: the node unpacks it."""
    function: str | None = None
    """Of a function: its name."""
    version: str | None = None
    """Of a function: its version."""
    runtime: str | None = None
    """Of a function: what runs it."""
    handler: str | None = None
    """Of a function: its entry."""


class Configuration(Resource):
    """Files for applications."""

    description: str = ""
    """What it is, for people."""
    data: dict[str, str] | None = None
    """Files by name, with their text."""
    objects: dict[str, ConfigurationObject] | None = None
    """Files by name, which nodes fetch from elsewhere."""


def _keep_withheld(config: Configuration, old: Configuration) -> None:
    """Take over the storage keys of objects that still are in the same place."""
    for name, item in (config.objects or {}).items():
        before = (old.objects or {}).get(name)
        if before and (item.source, item.endpoint) == (before.source, before.endpoint):
            item.ak, item.sk = item.ak or before.ak, item.sk or before.sk


_FUNCTION_FIELDS = ("function", "version", "runtime", "handler", "bucket", "object")


def _validate(config: Configuration, old: Configuration | None) -> Iterator[FieldError]:
    if old is None:
        yield from name_problems(config)
    yield from data_key_errors("data", config.data or {})
    yield from data_key_errors("objects", config.objects or {})
    for key in config.data or ():
        if key.startswith(OBJECT_PREFIX):
            yield invalid(f"data[{key}]", key, f'may not begin with "{OBJECT_PREFIX}"')
        if key in (config.objects or {}):
            yield invalid(f"data[{key}]", key, "duplicate of key present in objects")
    for key, item in (config.objects or {}).items():
        yield from _object_errors(f"objects[{key}]", item)


def _object_errors(path: str, item: ConfigurationObject) -> Iterator[FieldError]:
    for name in _FUNCTION_FIELDS if item.type == "function" else ():
        if not getattr(item, name):
            yield required(f"{path}.{name}", "a function needs it")
    if item.source == HTTP_SOURCE and not item.url:
        yield required(f"{path}.url", "the source is http")
    for name in () if item.url or item.type == "function" else ("bucket", "object"):
        if item.source not in {HTTP_SOURCE, KEPT_SOURCE} and not getattr(item, name):
            yield required(f"{path}.{name}", "an object without a url needs it")
    if item.source == KEPT_SOURCE and not _DIGEST.fullmatch(item.object or ""):
        yield invalid(f"{path}.object", item.object, "must be a digest, sha256:..., as POST /v1/objects answers it")
    if item.url and not item.url.startswith(("http://", "https://")):
        yield invalid(f"{path}.url", item.url, "must begin with http:// or https://")
    if item.unpack and item.unpack not in UNPACKED:
        yield not_supported(f"{path}.unpack", item.unpack, UNPACKED)
    if bool(item.ak) != bool(item.sk):
        yield forbidden(f"{path}.{'sk' if item.ak else 'ak'}", "ak and sk go together: give both, or none")


CONFIGURATION = Kind(
    group=GROUP,
    version=VERSION,
    model=Configuration,
    plural="configurations",
    namespaced=True,
    columns=(
        Column("Files", lambda d: len(d.get("data") or {}), type="integer", description="The files with their text."),
        Column("Objects", lambda d: len(d.get("objects") or {}), type="integer", description="The files elsewhere."),
        Column("Description", value_at(".description"), description="What it is.", priority=1),
    ),
    validate=_validate,
    keep_withheld=_keep_withheld,
    read_by="view",
    written_by="edit",
)
