"""Moving a log into a database: from another one, or from a backup. Cut off anywhere, it goes on where it stopped.

The target grows by whole batches and is marked as half done until it is whole, so an interrupted move leaves a target
that no control plane starts on, and that holds the first changes of the source. Starting again compares them, by
digest, and adds the rest. In the end the digest of the target, read back, must be that of the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from skerry.store.moving.changes import Change, Progress, Snapshot, Span, Tally, digest_of
from skerry.store.moving.databases import Content, DatabaseSnapshot, Incoming
from skerry.store.moving.errors import DigestError, NotEmptyError


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved.

    Attributes:
        digest: of the log, in source and target.
        changes: how many there are.
        key_ids: of the encryption keys that it takes to read it.
        resumed_after: up to which revision they were there already; 0 where it began anew.
    """

    digest: str
    changes: int
    span: Span
    key_ids: frozenset[str]
    resumed_after: int


async def move(source: Snapshot, target: Incoming, progress: Progress, *, force: bool) -> Moved:
    """Bring a log into a database, which stays marked as half done: see `Incoming.finish`.

    Args:
        source: what is moved.
        target: where to.
        progress: told how far it is.
        force: clear the target, whatever lies there.

    Raises:
        NotEmptyError: something else lies in the target; it was not changed.
        DigestError: what arrived differs.
    """
    known = await _begun(source, target, force=force)
    tally = Tally()
    async for changes in source.changes():
        tally.add(changes)
        new = known.reconcile(changes)
        if new:
            known.require_same()
            await target.append(new)
        progress("moving", tally.changes, source.count)
    known.require_same()
    await source.confirm()
    await target.settle(source.span)
    expected = tally.digest(source.span)
    async with target.snapshot() as arrived:
        found = await digest_of(arrived, partial(progress, "verifying"))
    if found != expected:
        raise DigestError(
            f"what arrived in {arrived.name} has the digest {found}, {source.name} has {expected}; it stays closed: "
            "start again with --force",
        )
    return Moved(expected, tally.changes, source.span, frozenset(tally.key_ids), known.through)


class _Known:
    """The first changes of a log, which the target has already, compared with those of the source.

    Args:
        digest: over the target's changes above `floor`.
        floor: nothing above it is compacted away in either.
        through: the target's newest revision.
    """

    def __init__(self, digest: str, *, floor: int, through: int, name: str) -> None:
        self.through = through
        self._digest = digest
        self._floor = floor
        self._name = name
        self._seen = Tally()

    def reconcile(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Take note of what is there already, and return what is not."""
        self._seen.add([change for change in changes if self._floor < change.revision <= self.through])
        return [change for change in changes if change.revision > self.through]

    def require_same(self) -> None:
        """Insist that all of what is there already was in the source, too."""
        if self._seen.digest(Span()) != self._digest:
            raise NotEmptyError(
                f"{self._name} holds a part of another log, or one whose secrets were encrypted anew since: --force "
                "clears it"
            )


async def _begun(source: Snapshot, target: Incoming, *, force: bool) -> _Known:
    """Find out what is in the target, and clear it where that may be."""
    content = await target.content()
    async with target.snapshot() as there:
        if content is Content.LOG and not force:
            raise NotEmptyError(f"there is a log in {there.name} already: --force deletes it")
        if content is Content.HALF and not force:
            return await _compared(source, there)
        name = there.name
    await target.begin(source.span)
    return _Known(Tally().digest(Span()), floor=0, through=0, name=name)


async def _compared(source: Snapshot, there: DatabaseSnapshot) -> _Known:
    if there.span.latest > source.span.latest or source.span.swept > max(there.span.latest, there.span.swept):
        raise NotEmptyError(
            f"{there.name} holds a part of another log, or of one that is compacted further by now: --force clears it"
        )
    # What was swept in the source since is still in the target: above that, both must be the same.
    floor = source.span.swept if source.span.swept != there.span.swept else 0
    tally = Tally()
    async for changes in there.changes():
        tally.add([change for change in changes if change.revision > floor])
    return _Known(tally.digest(Span()), floor=floor, through=there.span.latest, name=there.name)
