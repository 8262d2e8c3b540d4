"""JSON merge patch, RFC 7386: null deletes, objects merge, everything else replaces."""

from dataclasses import dataclass
from typing import Any, cast

from skerry.api.errors import BadRequest
from skerry.api.kinds import Kind
from skerry.api.model import Document


@dataclass(frozen=True, slots=True)
class MergePatch:
    """A merge patch, as parsed from its body."""

    patch: Document

    def apply(self, live: Document, kind: Kind[Any]) -> Document:
        """Return the merged object; see `Patch`."""
        del kind  # a merge patch knows nothing of kinds
        return cast("Document", merge(live, self.patch))


def merge_patch(body: Any) -> MergePatch:
    """Read a merge patch; raises BadRequest unless it is an object."""
    if not isinstance(body, dict):
        raise BadRequest("a merge patch must be a JSON object")
    return MergePatch(body)


def merge(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` merged in (RFC 7386, section 2)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
