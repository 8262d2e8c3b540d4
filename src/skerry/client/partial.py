"""What of an object is kept where only its metadata matters: no labels, no annotations, no managedFields, no body.

Controllers that look at every object there is (who owns whom, what is in a namespace) hold one of these for each,
some hundred bytes instead of some thousand; and none of them sees what a Secret holds.
"""

import sys
from functools import lru_cache
from typing import NamedTuple

from skerry.api.model import Document, OwnerReference

#: Owner references at hand: dependents come in masses, and those of one owner share theirs.
_OWNERS_REMEMBERED = 1024


class PartialMetadata(NamedTuple):
    """Identity, age, owners and end of an object; the fields are those of `ObjectMeta`."""

    name: str
    namespace: str
    uid: str
    creation_timestamp: str
    deletion_timestamp: str | None
    finalizers: tuple[str, ...]
    owner_references: tuple[OwnerReference, ...]


class PartialObject(NamedTuple):
    """An object of any kind, by its metadata alone."""

    metadata: PartialMetadata

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace; "" in cluster scope."""
        return self.metadata.namespace


def partial_object(document: Document) -> PartialObject:
    """Read an object; raises ValidationError where its metadata is not what the server promises."""
    meta = document["metadata"]
    owners = meta.get("ownerReferences") or ()
    return PartialObject(
        PartialMetadata(
            name=meta["name"],
            namespace=sys.intern(meta.get("namespace") or ""),
            uid=meta["uid"],
            creation_timestamp=sys.intern(meta["creationTimestamp"]),
            deletion_timestamp=meta.get("deletionTimestamp"),
            finalizers=tuple(meta.get("finalizers") or ()),
            owner_references=tuple([_owner(*owner.items()) for owner in owners]),
        )
    )


@lru_cache(_OWNERS_REMEMBERED)
def _owner(*fields: tuple[str, str | bool]) -> OwnerReference:
    return OwnerReference.model_validate(dict(fields), by_alias=True, by_name=False)
