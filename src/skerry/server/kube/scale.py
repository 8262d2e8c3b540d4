"""The scale subresource: one number of an object, as autoscaling/v1 has it, whatever the object's own shape.

A Scale is a view: reading it reads the object, writing it writes the number at the path that the definition names. The
write is a merge patch of the object, so it passes what every other write passes.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from skerry.api.errors import BadRequest, Invalid
from skerry.api.fields import invalid, type_invalid
from skerry.api.kinds import Kind, ScalePaths
from skerry.api.model import Document
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.patches.patch import Patch
from skerry.server.verbs.requests import Target, WriteOptions, Written
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.verbs import Verbs

GROUP, VERSION, KIND = "autoscaling", "v1", "Scale"
REPLICAS_MAX = 2**31 - 1

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(paths: ScalePaths, document: Document) -> Document:
    """Return the Scale of an object; a number that is not there is 0."""
    status: Document = {"replicas": paths.present(document) or 0}
    if paths.selector is not None and (selector := paths.selector(document)):
        status["selector"] = selector
    return {
        "kind": KIND,
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {name: item for name, item in document["metadata"].items() if name in _IDENTITY},
        "spec": {"replicas": paths.replicas(document) or 0},
        "status": status,
    }


def rendered(paths: ScalePaths, stored: Stored) -> bytes:
    """Return the Scale of an object as it is sent."""
    return orjson.dumps(scale_of(paths, stored.document))


async def replace_scale(
    verbs: Verbs, target: Target, paths: ScalePaths, scale: Document, options: WriteOptions
) -> Written:
    """Write the number of a whole Scale; its resourceVersion is checked where it has one."""
    return await verbs.patch(target, _as_patch(paths, scale), options)


@dataclass(frozen=True, slots=True)
class ScalePatch:
    """A patch of the Scale of an object, as a patch of the object.

    Attributes:
        paths: where the numbers are.
        patch: of the Scale.
    """

    paths: ScalePaths
    patch: Patch

    def apply(self, live: Document, kind: Kind[Any]) -> Document:
        """Return the object with the number of the patched Scale; see `Patch`."""
        return _as_patch(self.paths, self.patch.apply(scale_of(self.paths, live), kind)).apply(live, kind)


def _as_patch(paths: ScalePaths, scale: Document) -> MergePatch:
    for field, expected in (("apiVersion", f"{GROUP}/{VERSION}"), ("kind", KIND)):
        if scale.get(field, expected) != expected:
            raise BadRequest(f"the {field} in the data ({scale[field]}) does not match the expected one ({expected})")
    change: Any = _replicas(scale)
    for name in reversed(paths.replicas.names or ()):
        change = {name: change}
    metadata = scale.get("metadata") if isinstance(scale.get("metadata"), dict) else {}
    same = {name: item for name, item in (metadata or {}).items() if name in {"uid", "resourceVersion"} and item}
    return MergePatch({**change, "metadata": same})


def _replicas(scale: Document) -> int:
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else spec
    name = str((scale.get("metadata") or {}).get("name", "")) if isinstance(scale.get("metadata"), dict) else ""
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise Invalid.of(KIND, GROUP, name, [type_invalid("spec.replicas", replicas, "integer")])
    if not 0 <= replicas <= REPLICAS_MAX:
        raise Invalid.of(KIND, GROUP, name, [invalid("spec.replicas", replicas, "must be greater than or equal to 0")])
    return replicas
