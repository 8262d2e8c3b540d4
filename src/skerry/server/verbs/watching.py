"""Watch: the changes of a collection, as one selection of it sees them.

An object that a change brings into the selection is ADDED, one that it takes out is DELETED (in its last selected
state, with the revision of the change). The store promises that revisions rise strictly, none missing, none twice.

All watchers of one change share one `Moment`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from skerry.server.verbs import answers
from skerry.server.verbs.moments import Moment, Moments
from skerry.server.verbs.reading import Reader, check_selectable, parse_revision
from skerry.server.verbs.requests import Listed, ListOptions, Selection, Target, WatchOptions
from skerry.server.verbs.stored import Stored
from skerry.store import errors as store
from skerry.store.log import RevisionLog
from skerry.store.records import Event, Progress

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

#: Objects of the present state that a watch begins with, told at once.
INITIAL_BATCH = 500
#: How often a quiet watcher that wants bookmarks gets one.
BOOKMARK_SECONDS = 60.0


class Observed(NamedTuple):
    """A change as a watcher sees it."""

    type: ChangeType
    moment: Moment

    @property
    def object(self) -> Stored:
        """The state to show: the new one, or the last one of an object that is gone (from the selection)."""
        state = self.moment.previous if self.type == "DELETED" else self.moment.current
        assert state is not None  # noqa: S101 - `_observe` makes no other
        return state


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Everything up to this revision has been seen.

    Attributes:
        ends_initial_events: whether the present state has now been told in full.
    """

    revision: int
    ends_initial_events: bool = False


Seen = Observed | Bookmark
#: Tells of a state whether it is selected.
Selects = Callable[[Stored], bool]


class Watcher:
    """Watches objects of every kind."""

    def __init__(self, log: RevisionLog, reader: Reader) -> None:
        self._log = log
        self._reader = reader
        self._moments = Moments()

    @asynccontextmanager
    async def watch(self, target: Target, options: WatchOptions) -> AsyncIterator[AsyncIterator[Sequence[Seen]]]:
        """Open a watch; see `Verbs.watch`."""
        check_selectable(target.kind, options.selection)
        after = parse_revision(options.resource_version)
        initial: Listed | None = None
        if not after or options.initial_events:
            match: Literal["", "NotOlderThan"] = "NotOlderThan" if options.resource_version else ""
            listing = ListOptions(options.selection, resource_version=options.resource_version, version_match=match)
            initial = await self._reader.list(target, listing)
            after = initial.revision
        fields, selects = options.selection.fields, _selects(target, options.selection)
        try:
            async with (
                self._log.watch(
                    target.kind.resource,
                    # What the log can tell by the key, it need not hand out: thousands of nodes watch one object each.
                    namespace=target.namespace or fields.value_of("metadata.namespace"),
                    name=fields.value_of("metadata.name"),
                    after_revision=after,
                    progress_seconds=BOOKMARK_SECONDS,
                    wants=partial(self._concerns, selects) if selects else None,
                ) as changes,
                aclosing(self._follow(selects, (after, changes))) as seen,
            ):
                yield _wanted(initial, seen, options)
        except store.Compacted as error:
            raise answers.too_old(after, error.oldest) from error
        except store.FutureRevision as error:
            raise answers.too_new(after, error.current) from error

    def _concerns(self, selects: Selects, event: Event) -> bool:
        """Tell whether a selection sees anything of a change: most see nothing of most, and are not woken for it."""
        moment = self._moments.of(event)
        now, before = moment.current, moment.previous
        return (now is not None and selects(now)) or (before is not None and selects(before))

    async def _follow(
        self, selects: Selects | None, since: tuple[int, AsyncIterator[Sequence[Event] | Progress]]
    ) -> AsyncGenerator[Sequence[Seen], None]:
        """Turn the store's events into what a selection sees of them."""
        after, changes = since
        try:
            async for change in changes:
                if isinstance(change, Progress):
                    yield (Bookmark(change.revision),)
                    continue
                after = change[-1].revision
                moments = map(self._moments.of, change)
                if seen := [one for moment in moments if (one := _observe(moment, selects))]:
                    yield seen
        except store.Compacted as error:
            raise answers.too_old(after, error.oldest) from error
        except store.StoreError as error:
            raise answers.of_store(error) from error


async def _wanted(
    initial: Listed | None, seen: AsyncIterator[Sequence[Seen]], options: WatchOptions
) -> AsyncIterator[Sequence[Seen]]:
    """Put the present state first, and leave out bookmarks that nobody asked for."""
    if initial:
        for batch in _additions(initial, ends_told=options.initial_events and options.bookmarks):
            yield batch
    async for batch in seen:
        if options.bookmarks or not isinstance(batch[0], Bookmark):
            yield batch


def _additions(listed: Listed, *, ends_told: bool) -> Iterator[Sequence[Seen]]:
    """Tell a list as additions, made as they are taken: a client may be slow, and there may be many."""
    for first in range(0, len(listed.items), INITIAL_BATCH):
        items = listed.items[first : first + INITIAL_BATCH]
        yield [Observed("ADDED", Moment(item.revision, item, None)) for item in items]
    if ends_told:
        yield [Bookmark(listed.revision, ends_initial_events=True)]


def _selects(target: Target, selection: Selection) -> Selects | None:
    """Return what tells of a state whether it is selected; None where all are."""
    return partial(selection.matches, target.kind) if selection else None


def _observe(moment: Moment, selects: Selects | None) -> Observed | None:
    """Return what a change is to a selection; None where it was outside before and after."""
    before, now = moment.previous is not None, moment.current is not None
    if selects is not None:
        before = moment.previous is not None and selects(moment.previous)
        now = moment.current is not None and selects(moment.current)
    if now:
        return Observed("MODIFIED" if before else "ADDED", moment)
    return Observed("DELETED", moment) if before else None
