"""The log in a PostgreSQL database, shared by any number of control planes.

    async with open_postgres("postgresql://skerry@db/skerry") as driver, open_log(driver) as log: ...

Three lanes (see lane.py) work on it, with a session for each batch that may be under way: the *writer* commits what
waits as one group (writes.py tells why revisions come in the order of commits), the *getter* answers point reads and
asks for bounds, the *scanners* read lists and events. A fifth session listens: a commit of another replica is told by
NOTIFY to be seen quickly, and found by the core's polling if that is lost.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import asyncpg

from skerry.kit.errors import StartError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running
from skerry.store.driver import Wake
from skerry.store.errors import Unavailable
from skerry.store.lane import Outcome
from skerry.store.postgres import queries, reads, schema, use, writes
from skerry.store.postgres.lane import Lane, LaneSettings, open_lane
from skerry.store.postgres.session import Connection, PostgresSettings, Session, connect, redacted
from skerry.store.records import (
    Batch,
    Bounds,
    Entry,
    Event,
    EventQuery,
    HeldValue,
    Key,
    ListQuery,
    Page,
    Rewrite,
    Scope,
    Statistics,
    Write,
)

__all__ = ["PostgresDriver", "PostgresSettings", "open_postgres"]

log = get_logger(__name__)

#: Point reads in one statement, or who share one question for the newest revision; it bounds how long one waits for
#: its batch.
GETS_BATCH_MAX = 256
#: A list may take long, so none waits for another while a session is free.
SCANS_BATCH_MAX = 1
#: How often the listening session is tried, to find out that it hears nothing any more.
LISTENING_CHECK_SECONDS = 10.0
CHANNEL = "skerry_revision"
#: The oldest major version that PostgreSQL's own developers still care for.
SERVER_VERSION_LEAST = 140000

_Scan: TypeAlias = Callable[[Connection], Awaitable[Any]]


@asynccontextmanager
async def open_postgres(url: str, settings: PostgresSettings | None = None) -> AsyncIterator["PostgresDriver"]:
    """Open a database, its schema brought up to date, for the length of the block.

    Args:
        url: postgresql://user:password@host:port/database, with libpq's parameters.
        settings: bounds.

    Raises:
        StartError: it can't be reached, is not what it has to be, is being moved, or its role may not make tables.
    """
    settings = settings or PostgresSettings()
    await _prepare(url, settings)
    driver = PostgresDriver(url, settings)
    async with driver.running():
        yield driver


async def _prepare(url: str, settings: PostgresSettings) -> None:
    try:
        raw = await connect(url, "start", settings)
        try:
            await _check(raw)
            await schema.migrate(raw)
            if await schema.is_half_done(raw):
                raise StartError(
                    f"the database {redacted(url)} is the half of a copy: run again the command that was filling it"
                )
            await use.share(Connection(raw))
            await Connection(raw).rows(queries.FORGET_WRITERS)
        finally:
            await raw.close(timeout=settings.connect_seconds_max)
    except Unavailable as error:
        raise StartError(f"the database {redacted(url)} can't be used: {error.public}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        hint = ""
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            hint = "; its role must be allowed to create tables and functions: make it the owner of the database"
        raise StartError(f"the database {redacted(url)} can't be used: {reason}{hint}", detail=reason) from error


async def _check(raw: Any) -> None:
    version, encoding, fsync = await raw.fetchrow(
        """
        SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_setting('fsync')
        """
    )
    if version < SERVER_VERSION_LEAST:
        raise StartError(f"PostgreSQL must be {SERVER_VERSION_LEAST // 10000} or newer, not {version // 10000}")
    if encoding != "UTF8":
        raise StartError(f"the database must have the encoding UTF8, not {encoding}")
    if fsync != "on":
        log.warning("the database does not sync its disk (fsync is off): a crash of its machine loses writes")


class PostgresDriver:
    """A `Driver` over one PostgreSQL database, as `open_postgres` yields it."""

    def __init__(self, url: str, settings: PostgresSettings) -> None:
        s = self._settings = settings
        self._wake: Wake = lambda _: None
        self._writing = Session("writes", url, s, use.share)
        self._getting = Session("gets", url, s)
        self._scanning = [Session("scans", url, s) for _ in range(s.scan_connections)]
        self._listening = Session("listen", url, s, self._listen)
        self._deaf = Wakeup()
        self._writer: Lane[writes.Job] = Lane(
            LaneSettings(
                "writes",
                ("writes_waiting_max", s.writes_waiting_max),
                s.group_writes_max,
                writes.bytes_of,
                s.group_bytes_max,
            )
        )
        self._getter: Lane[Key | None] = Lane(
            LaneSettings("gets", ("gets_waiting_max", s.gets_waiting_max), GETS_BATCH_MAX)
        )
        self._scanner: Lane[_Scan] = Lane(
            LaneSettings("scans", ("scans_waiting_max", s.scans_waiting_max), SCANS_BATCH_MAX)
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work for the length of the block; what was accepted is finished."""
        async with AsyncExitStack() as stack:
            for session in (self._writing, self._getting, *self._scanning, self._listening):
                stack.push_async_callback(session.close)
            await self._writing.run(lambda connection: connection.row(queries.PING))  # from now on it is in use
            await self._check_listening()  # what is committed from now on is heard of
            await stack.enter_async_context(background(("store.listening", self._keep_listening)))
            scans = [partial(self._scan, session) for session in self._scanning]
            await stack.enter_async_context(open_lane(self._scanner, *scans))
            await stack.enter_async_context(open_lane(self._getter, self._get))
            await stack.enter_async_context(
                open_lane(self._writer, writes.Writer(self._writing, self._committed).run_batch)
            )
            yield

    async def _keep_listening(self) -> None:
        """Keep a session that hears of other replicas' commits."""
        await keep_running(
            "store.listening",
            self._check_listening,
            wakeup=self._deaf,
            resync_seconds=LISTENING_CHECK_SECONDS,
        )

    async def _check_listening(self) -> None:
        await self._listening.run(lambda connection: connection.row(queries.PING))

    async def _listen(self, connection: Connection) -> None:
        connection.raw.add_termination_listener(lambda _: self._deaf.set())
        await connection.raw.add_listener(CHANNEL, self._heard)
        self._wake(())  # for what was committed while nobody listened

    def _heard(self, _: object, server_process_id: int, *_rest: object) -> None:
        # The core was woken for our own commits before their writers were answered.
        if server_process_id != self._writing.server_process_id:
            self._wake(())

    async def _get(self, wanted: Sequence[Key | None]) -> Sequence[Outcome]:
        return await self._getting.run(lambda connection: reads.answer(connection, wanted))

    async def _scan(self, session: Session, scans: Sequence[_Scan]) -> Sequence[Outcome]:
        outcomes = []
        for scan in scans:
            try:
                outcomes.append(Outcome(result=await session.run(scan)))
            except Exception as error:  # noqa: BLE001 - told to the caller whose scan it is
                outcomes.append(Outcome(error=error))
        return outcomes

    async def append(self, write: Write) -> int:
        """Apply one conditional change; see `Driver`."""
        return int(await self._writer.call(write))

    async def get(self, key: Key) -> Entry | None:
        """Return the present state of a key."""
        entry: Entry | None = await self._getter.call(key)
        return entry

    async def bounds(self) -> Bounds:
        """Return the oldest and the newest revision; all who ask at once share one question."""
        bounds: Bounds = await self._getter.call(None)
        return bounds

    async def page(self, query: ListQuery) -> Page:
        """Return a part of a snapshot; see `Driver`."""
        page: Page = await self._scanner.call(partial(reads.page, query=query))
        return page

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        """Return the first events after `revision`; see `Driver`."""
        query = EventQuery(revision, scope, limit, self._settings.batch_bytes_max)
        batch: Batch = await self._scanner.call(partial(reads.events_after, query=query))
        return batch

    async def compact(self, revision: int) -> None:
        """Forget superseded states and tombstones at or below `revision`; see `Driver`.

        Many short transactions, between which others go on; one replica at a time makes them.
        """
        await self._scanner.call(partial(writes.mark_compacted, revision=revision))
        while await self._scanner.call(writes.sweep):
            pass

    async def values_after(self, revision: int, *, limit: int) -> Sequence[HeldValue]:
        """Return the first values written after `revision`; see `HeldValues`."""
        bytes_max = self._settings.batch_bytes_max
        values: Sequence[HeldValue] = await self._scanner.call(
            partial(reads.values_after, revision=revision, limit=limit, bytes_max=bytes_max)
        )
        return values

    async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        """Replace values that are still as they were read; see `HeldValues`. What they were is there until a vacuum."""
        await self._writer.call(tuple(rewrites))

    def head(self, resource: str) -> int | None:  # noqa: ARG002 - others write, so it is never known
        """Return None: other replicas write as well; see `Driver`."""
        return None

    def call_after_commit(self, wake: Wake) -> None:
        """Have `wake` called on the event loop after commits, of this process and, mostly, of others."""
        self._wake = wake

    def _committed(self, events: Sequence[Event]) -> None:
        self._wake(events)

    def statistics(self) -> Statistics:
        """Return how many jobs wait in each lane."""
        return {**self._writer.statistics(), **self._getter.statistics(), **self._scanner.statistics()}
