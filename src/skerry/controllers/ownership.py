"""Who owns whom: an index of owner references, kept from what informers show.

Decides whom a change concerns, and who is worth a look at all; purely, from what it was told. Does not decide what
happens to an object: `garbage` does, from live reads.

Invariant: after `observe`, the index holds exactly the present state of every object that it was told of. Its work is
that of the object's own owners and dependents; a change that touches none of it is one comparison.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from skerry.api.kinds import Kind
from skerry.api.model import FOREGROUND_FINALIZER, ORPHAN_FINALIZER, OwnerReference

_PROPAGATING = frozenset({FOREGROUND_FINALIZER, ORPHAN_FINALIZER})


class OwnedMetadata(Protocol):
    """What ownership reads of metadata: of a model's, or of a `PartialObject`'s."""

    @property
    def namespace(self) -> str | None:
        """Where it is."""
        ...

    @property
    def uid(self) -> str | None:
        """The object's uid."""
        ...

    @property
    def deletion_timestamp(self) -> str | None:
        """When its deletion was asked for."""
        ...

    @property
    def finalizers(self) -> Sequence[str] | None:
        """What holds it back."""
        ...

    @property
    def owner_references(self) -> Sequence[OwnerReference] | None:
        """Its owners."""
        ...


class Ref(NamedTuple):
    """Where an object is: its resource (`plural.group`), namespace ("" for cluster scope) and name."""

    resource: str
    namespace: str
    name: str


class Tie(NamedTuple):
    """One owner reference, resolved.

    Attributes:
        owner: where the owner would be; None where no such object can be read, and the owner counts as there.
        uid: the owner's.
        blocks: whether a foreground deletion of the owner waits for the dependent.
    """

    owner: Ref | None
    uid: str
    blocks: bool


class Node(NamedTuple):
    """What of an object matters to ownership.

    Attributes:
        uid: the object's.
        ties: to its owners.
        ending: whether its deletion was asked for.
        propagation: the finalizers by which its deletion reaches its dependents.
    """

    uid: str
    ties: tuple[Tie, ...]
    ending: bool
    propagation: frozenset[str]

    @property
    def waits_for_dependents(self) -> bool:
        """Whether it is being deleted in the foreground."""
        return self.ending and FOREGROUND_FINALIZER in self.propagation


class OwnerIndex:
    """Objects by place, by uid, and by the uid of their owners.

    Args:
        kinds: of which objects may be owners.
    """

    def __init__(self, kinds: Sequence[Kind[Any]]) -> None:
        self.serve(kinds)
        self._nodes: dict[Ref, Node] = {}
        self._places: dict[str, Ref] = {}
        self._dependents: dict[str, set[Ref]] = defaultdict(set)

    def serve(self, kinds: Sequence[Kind[Any]]) -> None:
        """Take the kinds that are served now; what is in the index is not looked at again by this."""
        self._kinds = {(kind.group, kind.kind): kind for kind in kinds}

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._nodes)

    def __iter__(self) -> Iterator[Ref]:
        """Iterate over a snapshot of every object's place."""
        return iter(list(self._nodes))

    def node_of(self, metadata: OwnedMetadata) -> Node:
        """Return what matters of an object."""
        return Node(
            uid=metadata.uid or "",
            ties=tuple([self._tie(owner, metadata.namespace or "") for owner in metadata.owner_references or ()]),
            ending=metadata.deletion_timestamp is not None,
            propagation=_PROPAGATING.intersection(metadata.finalizers or ()),
        )

    def _tie(self, owner: OwnerReference, namespace: str) -> Tie:
        """Resolve a reference: an owner is in the dependent's own namespace, or in none.

        A kind that is not served can't be looked up, nor can a namespaced owner of a cluster-scoped dependent;
        as in Kubernetes, such an owner counts as there, so that nothing is deleted for what we can't know.
        """
        kind = self._kinds.get((owner.api_version.rpartition("/")[0], owner.kind))
        place = None
        if kind is not None and (namespace or not kind.namespaced):
            place = Ref(kind.resource, namespace if kind.namespaced else "", owner.name)
        return Tie(place, owner.uid, bool(owner.block_owner_deletion))

    def observe(self, ref: Ref, metadata: OwnedMetadata | None) -> set[Ref]:
        """Take the present state of a place (None: nothing is there); return whom the change concerns."""
        node = self.node_of(metadata) if metadata else None
        before = self._nodes.get(ref)
        if node == before:
            return set()
        concerned = {ref}
        if before:
            concerned |= self._relatives(before)
            self._forget(ref, before)
        if node:
            self._remember(ref, node)
            concerned |= self._relatives(node)
        return concerned

    def _relatives(self, node: Node) -> set[Ref]:
        """Return the owners and dependents of an object, as far as they are there."""
        owners = {self._places[tie.uid] for tie in node.ties if tie.uid in self._places}
        return owners | self._dependents.get(node.uid, set())

    def _remember(self, ref: Ref, node: Node) -> None:
        self._nodes[ref] = node
        self._places[node.uid] = ref
        for tie in node.ties:
            self._dependents[tie.uid].add(ref)

    def _forget(self, ref: Ref, node: Node) -> None:
        del self._nodes[ref]
        if self._places.get(node.uid) == ref:
            del self._places[node.uid]
        for tie in node.ties:
            self._dependents[tie.uid].discard(ref)
            if not self._dependents[tie.uid]:
                del self._dependents[tie.uid]

    def is_worth_a_look(self, ref: Ref) -> bool:
        """Tell whether something may have to be done about an object: it ends, or an owner is gone or ends."""
        node = self._nodes.get(ref)
        if node is None:
            return False
        if node.ending:
            return bool(node.propagation)
        return any(map(self._looks_lost, node.ties))

    def _looks_lost(self, tie: Tie) -> bool:
        if tie.owner is None:
            return False
        owner = self._nodes.get(tie.owner)
        return owner is None or owner.uid != tie.uid or owner.waits_for_dependents

    def has_ties(self, ref: Ref) -> bool:
        """Tell whether an object names owners."""
        node = self._nodes.get(ref)
        return node is not None and bool(node.ties)

    def dependents(self, uid: str) -> set[Ref]:
        """Return the objects that name an owner."""
        return set(self._dependents.get(uid, ()))

    def blocks(self, ref: Ref, uid: str) -> bool:
        """Tell whether an object keeps a foreground deletion of its owner waiting."""
        node = self._nodes.get(ref)
        return node is not None and any(tie.blocks and tie.uid == uid for tie in node.ties)

    def waits_for_dependents(self, ref: Ref) -> bool:
        """Tell whether an object is being deleted in the foreground."""
        node = self._nodes.get(ref)
        return node is not None and node.waits_for_dependents
