"""The store's nouns: keys, entries, events, pages. Plain data; values are opaque bytes.

A revision is a positive integer, unique in the whole log and strictly rising; 0 means "before everything"
or "absent". An entry is the present state of a key; an event is the change that one revision made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias


class Key(NamedTuple):
    """The name of an entry.

    Attributes:
        resource: plural and group, such as "edgefunctions.extensions.apoxy.dev"; "secrets" in the core group.
        namespace: "" in cluster scope.
        name: unique within resource and namespace.
    """

    resource: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource} {self.namespace}/{self.name}" if self.namespace else f"{self.resource} {self.name}"


class Entry(NamedTuple):
    """The state of a key.

    Attributes:
        revision: the revision that wrote this state.
        created_revision: the revision that created the entry (after its last deletion, if any).
    """

    key: Key
    revision: int
    created_revision: int
    value: bytes


class Event(NamedTuple):
    """The change that one revision made.

    Attributes:
        created: a put that found no entry.
        value: the new state; None for a delete.
        previous: the state before; None where there was none. For a delete, the last state.
    """

    kind: Literal["put", "delete"]
    key: Key
    revision: int
    created: bool
    value: bytes | None
    previous: bytes | None

    @property
    def held_bytes(self) -> int:
        """How much memory its values take."""
        return len(self.value or b"") + len(self.previous or b"")


@dataclass(frozen=True, slots=True)
class Progress:
    """A watcher has been given every event of its scope up to and including this revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        entries: in the order of (namespace, name).
        revision: the list is a snapshot of this revision; ask for it to get the next page of the same list.
        more: whether entries follow this page.
        remaining: how many; None on a page that is not the first of its list, for a database looks at each of them.
    """

    entries: tuple[Entry, ...]
    revision: int
    more: bool
    remaining: int | None


class Scope(NamedTuple):
    """What a reader wants to see; None wants all.

    Attributes:
        resource: as in `Key`; without one, namespace and name are free, too.
        namespace: as in `Key`.
        name: as in `Key`.
    """

    resource: str | None = None
    namespace: str | None = None
    name: str | None = None

    def covers(self, key: Key) -> bool:
        """Tell whether an entry is of it."""
        return (
            (self.resource is None or self.resource == key.resource)
            and (self.namespace is None or self.namespace == key.namespace)
            and (self.name is None or self.name == key.name)
        )


EVERYTHING = Scope()
#: A scope as a plain tuple, equal to it.
Place: TypeAlias = tuple[str | None, str | None, str | None]


class Write(NamedTuple):
    """One conditional change.

    Attributes:
        value: the new state; None deletes.
        expected_revision: the change happens only if the entry is at this revision; 0: if there is none.
    """

    key: Key
    value: bytes | None
    expected_revision: int


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What `list` asks a driver.

    Attributes:
        namespace: None lists all namespaces.
        revision: the snapshot to list; None for the newest.
        after: (namespace, name) of the last entry already seen.
        limit: most entries in the answer; None for all.
    """

    resource: str
    namespace: str | None
    revision: int | None
    after: tuple[str, str] | None
    limit: int | None

    @property
    def counts(self) -> bool:
        """Whether the answer tells how many entries follow it."""
        return self.after is None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events a driver reads.

    Attributes:
        after_revision: the last revision already seen.
        limit: most events.
        bytes_max: bytes of values after which the batch is cut.
    """

    after_revision: int
    scope: Scope
    limit: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in the order of their revisions, none left out.

    Attributes:
        through: every event of the asked scope up to this revision is in here (or was before).
        more: whether later events may exist already.
    """

    events: tuple[Event, ...]
    through: int
    more: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """The span of the log.

    Attributes:
        compacted: the oldest revision that can be listed, or watched from; 0 before any compaction.
        latest: the newest revision; 0 in an empty log.
    """

    compacted: int
    latest: int


@dataclass(frozen=True, slots=True)
class HeldValue:
    """A state as it lies in the database.

    Attributes:
        revision: the revision that wrote it.
        current: whether it is the present state of its key.
    """

    revision: int
    key: Key
    value: bytes
    current: bool


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Another form of a value at rest.

    Attributes:
        held: the value as it was read; where it is not there any more, nothing is done.
        value: the form to keep instead.
    """

    held: HeldValue
    value: bytes


Statistics: TypeAlias = Mapping[str, int]
