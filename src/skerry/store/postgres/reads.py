"""What the PostgreSQL driver reads: each answer from one statement, so from one snapshot."""

from collections.abc import Sequence
from typing import Any

from skerry.store.driver import check_revision
from skerry.store.errors import Compacted
from skerry.store.lane import Outcome
from skerry.store.postgres import queries
from skerry.store.postgres.session import Connection
from skerry.store.queries import Query
from skerry.store.records import Batch, Bounds, Entry, Event, EventQuery, HeldValue, Key, ListQuery, Page, Scope


def storable(text: str) -> str:
    """Return a name as it can be searched for.

    PostgreSQL keeps no NUL. No valid name has a control character, so a search for another one finds as little.
    """
    return text.replace("\0", "\1")


async def answer(connection: Connection, wanted: Sequence[Key | None]) -> Sequence[Outcome]:
    """Return the entry of each key, and the bounds for None."""
    keys = [(place, key) for place, key in enumerate(wanted) if key is not None]
    found: dict[int, Entry] = {}
    if keys:
        names = [[storable(getattr(key, part)) for _, key in keys] for part in ("resource", "namespace", "name")]
        for place, revision, created_revision, value in await connection.rows(queries.GET, *names):
            at, key = keys[place - 1]
            found[at] = Entry(key, revision, created_revision, value)
    # After the entries: who asks for both learns of a revision that what it was given is not younger than.
    span = await bounds(connection) if len(keys) < len(wanted) else None
    return [Outcome(result=span if key is None else found.get(place)) for place, key in enumerate(wanted)]


async def bounds(connection: Connection) -> Bounds:
    """Return the oldest and the newest revision."""
    latest, compacted = await connection.row(queries.BOUNDS)
    return Bounds(compacted=compacted, latest=latest)


async def page(connection: Connection, query: ListQuery) -> Page:
    """Return a part of a snapshot."""
    after_namespace, after_name = map(storable, query.after or ("", ""))
    namespace = None if query.namespace is None else storable(query.namespace)
    limit = None if query.limit is None else query.limit + 1  # one more tells whether there is more
    scope = [query.resource, namespace, after_namespace, after_name, limit]
    at = [] if query.revision is None else [query.revision]
    rows = await connection.rows(_list_query(query), *scope, *at)
    latest, compacted, counted, *_ = rows[0]
    revision = latest if query.revision is None else query.revision
    check_revision(revision, Bounds(compacted=compacted, latest=latest))
    found = [
        Entry(Key(query.resource, namespace, name), *state)
        for _, _, _, namespace, name, *state in rows
        if name is not None
    ]
    entries = tuple(found[: query.limit])
    remaining = (counted or len(entries)) - len(entries) if query.counts else None
    return Page(entries, revision, more=len(found) > len(entries), remaining=remaining)


def _list_query(query: ListQuery) -> Query:
    if query.namespace is None:
        return queries.LIST_CURRENT if query.revision is None else queries.LIST_SNAPSHOT
    return queries.LIST_CURRENT_NAMESPACE if query.revision is None else queries.LIST_SNAPSHOT_NAMESPACE


async def events_after(connection: Connection, query: EventQuery) -> Batch:
    """Return the first events after a revision."""
    scope = [None if part is None else storable(part) for part in _parts(query.scope)]
    rows = await connection.rows(queries.EVENTS_AFTER, query.after_revision, *scope, query.limit, query.bytes_max)
    latest, compacted, *_ = rows[0]
    if query.after_revision < compacted:
        raise Compacted(compacted)
    events = tuple([_event(row) for row in rows if row["revision"] is not None])
    # Where the bytes were too many, fewer than the limit came, and the last event does not reach the newest one.
    held_bytes = sum(event.held_bytes for event in events)
    if len(events) == query.limit or held_bytes > query.bytes_max:
        return Batch(events, through=events[-1].revision, more=True)
    return Batch(events, through=max(query.after_revision, latest), more=False)


def _parts(scope: Scope) -> tuple[str | None, str | None, str | None]:
    return (scope.resource, scope.namespace, scope.name)


def _event(row: Any) -> Event:
    return Event(
        kind="delete" if row["deleted"] else "put",
        key=Key(row["resource"], row["namespace"], row["name"]),
        revision=row["revision"],
        created=row["previous_revision"] == 0,
        value=row["value"],
        previous=row["previous"],
    )


async def values_after(connection: Connection, *, revision: int, limit: int, bytes_max: int) -> Sequence[HeldValue]:
    """Return the first values written after a revision, as they lie there; at least one where there is any."""
    rows = await connection.rows(queries.VALUES_AFTER, revision, limit, bytes_max)
    return [
        HeldValue(at, Key(resource, namespace, name), value, current)
        for at, resource, namespace, name, value, current, _ in rows
    ]
