"""What the SQLite readers do: batches of jobs on one snapshot. A job is a call with a connection."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from skerry.store import sqlite_queries as queries
from skerry.store.driver import check_revision
from skerry.store.errors import Compacted, Unavailable
from skerry.store.lane import Outcome
from skerry.store.queries import Query
from skerry.store.records import Batch, Bounds, Entry, Event, EventQuery, HeldValue, Key, ListQuery, Page
from skerry.store.sqlite_connection import Connection


def run_batch(connection: Connection, jobs: Sequence[Callable[[Connection], Any]]) -> Sequence[Outcome]:
    """Run jobs on one snapshot, taken now: each sees all that was acknowledged before it was asked."""
    try:
        with connection.transaction(write=False):
            return [_attempt(job, connection) for job in jobs]
    except sqlite3.Error as cause:
        error = Unavailable("the database cannot be read", detail=str(cause))
        error.__cause__ = cause
        return [Outcome(error=error) for _ in jobs]


def _attempt(job: Callable[[Connection], Any], connection: Connection) -> Outcome:
    try:
        return Outcome(result=job(connection))
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - told to the caller whose job it is
        return Outcome(error=error)


def get(connection: Connection, *, key: Key) -> Entry | None:
    """Return the present state of a key."""
    row = connection.row(queries.GET, resource=key.resource, namespace=key.namespace, name=key.name)
    return Entry(key, *row) if row else None


def bounds(connection: Connection) -> Bounds:
    """Return the oldest and the newest revision."""
    latest, compacted, _ = connection.row(queries.STATE)
    return Bounds(compacted=compacted, latest=latest)


def page(connection: Connection, *, query: ListQuery) -> Page:
    """Return a part of a snapshot."""
    span = bounds(connection)
    revision = span.latest if query.revision is None else query.revision
    check_revision(revision, span)
    list_query, count_query = _list_queries(query, present=revision == span.latest)
    after_namespace, after_name = query.after or ("", "")
    parameters = {"resource": query.resource, "namespace": query.namespace, "revision": revision}
    rows = connection.rows(
        list_query,
        **parameters,
        after_namespace=after_namespace,
        after_name=after_name if query.namespace in {None, after_namespace} else "",
        limit=-1 if query.limit is None else query.limit + 1,  # one more tells whether there is more
    )
    found = tuple(Entry(Key(query.resource, namespace, name), *state) for namespace, name, *state in rows)
    entries = found[: query.limit]
    more = len(found) > len(entries)
    remaining = 0 if query.counts else None
    if more and query.counts:
        last = entries[-1].key
        (remaining,) = connection.row(count_query, **parameters, after_namespace=last.namespace, after_name=last.name)
    return Page(entries, revision, more=more, remaining=remaining)


def _list_queries(query: ListQuery, *, present: bool) -> tuple[Query, Query]:
    if query.namespace is None:
        if present:
            return queries.LIST_CURRENT, queries.COUNT_CURRENT
        return queries.LIST_SNAPSHOT, queries.COUNT_SNAPSHOT
    if present:
        return queries.LIST_CURRENT_NAMESPACE, queries.COUNT_CURRENT_NAMESPACE
    return queries.LIST_SNAPSHOT_NAMESPACE, queries.COUNT_SNAPSHOT_NAMESPACE


def events_after(connection: Connection, *, query: EventQuery) -> Batch:
    """Return the first events after a revision."""
    span = bounds(connection)
    if query.after_revision < span.compacted:
        raise Compacted(span.compacted)
    events, batch_bytes = [], 0
    with connection.open_rows(
        queries.EVENTS_AFTER,
        revision=query.after_revision,
        resource=query.scope.resource,
        namespace=query.scope.namespace,
        name=query.scope.name,
        limit=query.limit,
    ) as rows:
        for row in rows:
            event = _event(*row)
            events.append(event)
            batch_bytes += event.held_bytes
            if len(events) == query.limit or batch_bytes > query.bytes_max:
                return Batch(tuple(events), through=event.revision, more=True)
    return Batch(tuple(events), through=max(query.after_revision, span.latest), more=False)


def _event(  # noqa: PLR0913, PLR0917 - a row of EVENTS_AFTER, spread
    revision: int,
    resource: str,
    namespace: str,
    name: str,
    previous_revision: int,
    deleted: int,
    value: bytes | None,
    previous: bytes | None,
) -> Event:
    return Event(
        kind="delete" if deleted else "put",
        key=Key(resource, namespace, name),
        revision=revision,
        created=previous_revision == 0,
        value=value,
        previous=previous,
    )


def values_after(connection: Connection, *, revision: int, limit: int, bytes_max: int) -> Sequence[HeldValue]:
    """Return the first values written after a revision, as they lie there; at least one where there is any."""
    held: list[HeldValue] = []
    held_bytes = 0
    with connection.open_rows(queries.VALUES_AFTER, after=revision, limit=limit) as rows:
        for at, resource, namespace, name, value, current in rows:
            held.append(HeldValue(at, Key(resource, namespace, name), value, bool(current)))
            held_bytes += len(value)
            if held_bytes > bytes_max:
                break
    return held
