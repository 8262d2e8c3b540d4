"""Whether a log is whole: what its driver promises of it, looked at row by row. Decides only; nothing is mended.

- Revisions have no gap: of those above what was swept, every one is there, up to the newest.
- A change names the state before it, and that is the one that is kept; a deletion is of something.
- What was swept holds each entry's newest state and nothing else.
- The index of present states names the newest state of each entry that is not deleted, and nothing else.
- Every value can be read (`Examine`, the caller's).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from skerry.store.moving.changes import Change, Progress, Snapshot, Span, Tally
from skerry.store.moving.databases import FAULTS_TOLD_MAX, DatabaseSnapshot, Place
from skerry.store.moving.errors import MovingError

#: Returns what is wrong with a change's value, of which the second argument tells whether it is the present state.
Examine: TypeAlias = Callable[[Change, bool], Awaitable[str]]


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        name: of what was looked at.
        span: how far its log reaches.
        digest: of the log; "" where it could not be read to its end.
        changes: how many were looked at.
        key_ids: of the encryption keys that it takes to read them.
        faults: a sentence each; of one sort at most `FAULTS_TOLD_MAX`.
        faults_count: how many there are.
    """

    name: str
    span: Span
    digest: str = ""
    changes: int = 0
    key_ids: frozenset[str] = frozenset()
    faults: list[str] = field(default_factory=list)
    faults_count: int = 0
    _told: Counter[str] = field(default_factory=Counter)

    def fault(self, sort: str, sentence: str) -> None:
        """Take note of a fault."""
        self.faults_count += 1
        self._told[sort] += 1
        if self._told[sort] <= FAULTS_TOLD_MAX:
            self.faults.append(f"{sort}: {sentence}")


async def check_database(snapshot: DatabaseSnapshot, examine: Examine, progress: Progress) -> Report:
    """Look at a whole database."""
    report = Report(snapshot.name, snapshot.span)
    if snapshot.half_done:
        report.fault("copy", "it is the half of a copy: run again the command that was filling it")
    try:
        for sentence in await snapshot.damage():
            report.fault("file", sentence)
        follow, done = _Follower(report, examine), 0
        async for places in snapshot.places():
            for place in places:
                await follow.take(place.change, is_present=place.newer_revision is None)
                for sentence in _misplaced(place, snapshot.span):
                    report.fault("order", sentence)
                for sentence in _misindexed(place):
                    report.fault("index", sentence)
            done += len(places)
            progress("checking", done, snapshot.count)
        follow.end()
        for name in await snapshot.strays():
            report.fault("index", f"{name} is listed, and there is no change of it")
    except MovingError as error:
        report.fault("file", error.public)
    return report


async def check_backup(snapshot: Snapshot, examine: Examine, progress: Progress) -> Report:
    """Look at the log in a backup; raises MovingError where the file is damaged."""
    report = Report(snapshot.name, snapshot.span)
    follow, done = _Follower(report, examine), 0
    async for changes in snapshot.changes():
        for change in changes:
            await follow.take(change, is_present=False)
        done += len(changes)
        progress("checking", done, snapshot.count)
    follow.end()
    await snapshot.confirm()
    return report


class _Follower:
    """Goes along the changes."""

    def __init__(self, report: Report, examine: Examine) -> None:
        self._report = report
        self._examine = examine
        self._tally = Tally()
        self._span = report.span
        self._last = report.span.swept

    async def take(self, change: Change, *, is_present: bool) -> None:
        self._tally.add([change])
        if change.revision > self._span.swept:
            self._require_next(change.revision)
            self._last = change.revision
        if change.revision > self._span.latest:
            self._report.fault("order", f"revision {change.revision} is above {self._span.latest}, the newest one")
        if change.value is not None and (wrong := await self._examine(change, is_present)):
            self._report.fault("value", f"{change.key}, revision {change.revision}: {wrong}")

    def _require_next(self, revision: int) -> None:
        if revision > self._last + 1:
            missing = f"{self._last + 1} to {revision - 1}" if revision > self._last + 2 else str(revision - 1)
            self._report.fault("order", f"revision {missing} is missing")

    def end(self) -> None:
        self._require_next(self._span.latest + 1)
        if not self._span.swept <= self._span.compacted <= self._span.latest:
            self._report.fault("order", f"swept, compacted and newest revision are not in order: {self._span}")
        self._report.digest = self._tally.digest(self._span)
        self._report.changes = self._tally.changes
        self._report.key_ids = frozenset(self._tally.key_ids)


def _misplaced(place: Place, span: Span) -> Iterator[str]:
    """Tell what is wrong with where a change stands."""
    change, older = place.change, place.older
    at = f"{change.key}, revision {change.revision}"
    if change.revision <= span.swept:
        if change.value is None:
            yield f"{at}: a deletion that should be swept"
        if place.newer_revision is not None and place.newer_revision <= span.swept:
            yield f"{at}: superseded by {place.newer_revision}, and should be swept"
        return
    living = older if older is not None and not older.deleted else None
    if change.previous_revision != (living.revision if living else 0):
        yield f"{at}: follows {change.previous_revision}, and {living.revision if living else 'nothing'} is before it"
    if change.created_revision != (living.created_revision if living else change.revision):
        yield f"{at}: its entry was not created at {change.created_revision}"
    if change.value is None and living is None:
        yield f"{at}: the deletion of what was not there"


def _misindexed(place: Place) -> Iterator[str]:
    """Tell what is wrong with the index, at each entry's newest change."""
    if place.newer_revision is not None:
        return
    change = place.change
    if change.value is None:
        if place.indexed is not None:
            yield f"{change.key} is listed, and was deleted at {change.revision}"
    elif place.indexed is None:
        yield f"{change.key} is not listed, and is there at {change.revision}"
    elif place.indexed != (change.revision, change.created_revision):
        yield f"{change.key} is listed at {place.indexed[0]}, created at {place.indexed[1]}; it is at {change.revision}"
