"""Changes of objects as their watchers share them, and the bound on what of them is kept at hand.

Ten thousand watchers of one change share one `Moment`: it parses the object once, and the front doors keep its
encodings on it, so a change costs one encoding for each form, not one for each watcher.

A parsed object takes six times the bytes of its JSON, so only the newest changes keep theirs: live watchers follow
within a turn of the event loop. Whoever comes later is mostly a selection that sees nothing of the change, and what
selections have read of an object is kept for as long as its moment.

Invariant: what is counted is what is kept (`Moment.held_bytes`), encodings that are made later too; at a limit the
oldest is given up, never the newest, so that one change of one huge object is still shared by all its watchers.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.verbs.stored import Stored
from skerry.store.records import Event

#: Moments kept for other watchers of the same change, and the bytes of their states and encodings.
MOMENTS_MAX = 1024
MOMENTS_BYTES_MAX = 16 * 1024 * 1024
#: What a moment takes besides, with the labels and fields that selections read; measured on CPython 3.11.
MOMENT_BYTES = 2048
#: Bytes of the states that keep their parsed objects: about 6 MiB of these.
NEWS_BYTES_MAX = 1024 * 1024


class SharedState(Stored):
    """A state of an object as the watchers of a change share it."""

    def __init__(self, value: bytes, revision: int) -> None:
        super().__init__(value, revision)
        self._is_news = True
        self._fields: dict[tuple[str, str], str] = {}

    @property
    def document(self) -> Document:
        """As that of `Stored`; parsed anew for each who asks, once it is no news any more."""
        document = self._document
        if document is None:
            document = self.fresh_document()
            if self._is_news:
                self._document = document
        return document

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """As those of `Stored`."""
        return super().labels

    def field(self, kind: Kind[Any], path: str) -> str:
        """As that of `Stored`."""
        place = (kind.version, path)
        found = self._fields.get(place)
        if found is None:
            found = self._fields[place] = super().field(kind, path)
        return found

    def become_old(self) -> None:
        """Keep the parsed object no longer."""
        self._is_news, self._document = False, None


@dataclass(slots=True)
class Moment:
    """One change of one object, shared by all who watch it.

    Attributes:
        revision: the revision of the change.
        current: the new state; None where the object was deleted.
        previous: the state before, with the revision of the change; None where there was none.
        encoded: bytes that a front door made of it, by whatever key it chooses (`keep`).
        held_bytes: about how much memory it takes, without parsed objects.
    """

    revision: int
    current: Stored | None
    previous: Stored | None
    encoded: dict[Any, bytes] = field(default_factory=dict)
    held_bytes: int = MOMENT_BYTES
    _among: "Moments | None" = None

    def keep(self, key: Any, encoding: bytes) -> None:
        """Keep an encoding for the watchers to come."""
        self.encoded[key] = encoding
        self.held_bytes += len(encoding)
        if self._among is not None:
            self._among.count(len(encoding))

    def be_forgotten(self) -> None:
        """Tell nobody any more of what it will keep."""
        self._among = None

    def become_old(self) -> None:
        """Keep no parsed objects any longer."""
        for state in (self.current, self.previous):
            if isinstance(state, SharedState):
                state.become_old()


class Moments:
    """The latest moments, bounded in number and bytes; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._moments: OrderedDict[int, Moment] = OrderedDict()
        self._bytes = 0
        #: The newest of them with the bytes of their states, which keep their parsed objects.
        self._news: deque[tuple[Moment, int]] = deque()
        self._news_bytes = 0

    def of(self, event: Event) -> Moment:
        """Return the moment of an event: a shared one while it is remembered."""
        moment = self._moments.get(event.revision)
        if moment is None:
            states_bytes = event.held_bytes
            moment = self._moments[event.revision] = _moment_of(event, states_bytes, self)
            self._add_news(moment, states_bytes)
            self.count(moment.held_bytes)
        return moment

    def count(self, more_bytes: int) -> None:
        """Take note that so much more is kept, and forget the oldest beyond the bounds."""
        self._bytes += more_bytes
        while len(self._moments) > MOMENTS_MAX or (self._bytes > MOMENTS_BYTES_MAX and len(self._moments) > 1):
            _, forgotten = self._moments.popitem(last=False)
            forgotten.be_forgotten()
            self._bytes -= forgotten.held_bytes

    def _add_news(self, moment: Moment, states_bytes: int) -> None:
        self._news.append((moment, states_bytes))
        self._news_bytes += states_bytes
        while self._news_bytes > NEWS_BYTES_MAX and len(self._news) > 1:
            old, old_bytes = self._news.popleft()
            old.become_old()
            self._news_bytes -= old_bytes


def _moment_of(event: Event, states_bytes: int, among: Moments) -> Moment:
    current = SharedState(event.value, event.revision) if event.kind == "put" and event.value is not None else None
    previous = SharedState(event.previous, event.revision) if event.previous is not None else None
    return Moment(event.revision, current, previous, {}, MOMENT_BYTES + states_bytes, among)
