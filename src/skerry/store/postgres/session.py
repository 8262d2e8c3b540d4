"""Sessions on the server: how one is set up, what is done when it breaks, and what its errors mean to the store.

A `Session` outlives its connections. A call that meets a broken one is made again on a new one, for at most
`outage_seconds_max`; so **every call must be one that may be made twice**: reads are, and `writes.py` sees to it that
appending is. Statements run under their names, timed, and with a time limit on the server's side and, for a server
that has gone without a word, one on ours.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from skerry.kit.backoff import Backoff
from skerry.kit.logs import get_logger
from skerry.store.errors import OutOfSpace, Unavailable
from skerry.store.queries import Query, timed
from skerry.store.settings import require_positive

log = get_logger(__name__)

T = TypeVar("T")
Raw: TypeAlias = asyncpg.Connection

#: The server ends, starts, is a standby, or has no place for us: the same call may well succeed a little later.
_PASSING = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InternalClientError,  # how asyncpg says that it met a broken connection in the middle of something
    OSError,  # among them TimeoutError
)
#: What was asked for can't be: another one may well be done.
_FAULTS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
#: How much longer than the server we wait for the end of a statement.
SILENCE_SECONDS_MAX = 5.0
RETRY_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """Bounds of the PostgreSQL driver.

    Attributes:
        writes_waiting_max: writes accepted and not yet durable.
        group_writes_max: writes in one transaction; it bounds how long one waits for its group.
        group_bytes_max: bytes of values after which a group is cut (one write more may be in it).
        gets_waiting_max: point reads accepted and not answered.
        scans_waiting_max: lists and event reads accepted and not answered.
        scan_connections: lists and event reads that run at once.
        batch_bytes_max: bytes of values after which a batch of events is cut (one event more may be in it).
        connect_seconds_max: how long making a connection may take.
        statement_seconds_max: how long one statement may take.
        outage_seconds_max: how long a call waits for a database that can't be reached to come back.
    """

    writes_waiting_max: int = 4_096
    group_writes_max: int = 256
    group_bytes_max: int = 16 * 1024 * 1024
    gets_waiting_max: int = 4_096
    scans_waiting_max: int = 1_024
    scan_connections: int = 2
    batch_bytes_max: int = 8 * 1024 * 1024
    connect_seconds_max: float = 5.0
    statement_seconds_max: float = 30.0
    outage_seconds_max: float = 10.0

    def __post_init__(self) -> None:
        require_positive(self)


class Connection:
    """A connection on which statements run under their names, timed."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    async def rows(self, query: Query, *parameters: Any) -> list[Any]:
        """Return all rows; the statement itself bounds their number."""
        with timed("postgres", query):
            return list(await self.raw.fetch(query.sql, *parameters))

    async def row(self, query: Query, *parameters: Any) -> Any:
        """Return the first row, or None."""
        with timed("postgres", query):
            return await self.raw.fetchrow(query.sql, *parameters)


#: What a session does with each new connection before it is used.
Prepare: TypeAlias = Callable[[Connection], Awaitable[None]]


async def _nothing(_: Connection) -> None:
    pass


class Session:
    """One connection at a time, made when it is needed, and again when it broke.

    Args:
        name: names the session to the server's administrator (`pg_stat_activity.application_name`).
        url: postgresql://...
        settings: its bounds.
        prepare: done with each new connection before it is used.
    """

    def __init__(self, name: str, url: str, settings: PostgresSettings, prepare: Prepare = _nothing) -> None:
        self._name = name
        self._url = url
        self._settings = settings
        self._prepare = prepare
        self._connection: Connection | None = None

    async def run(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """Make a call that may be made twice, until it has an answer.

        Raises:
            Unavailable: there was none for `outage_seconds_max`, or the server cannot do what was asked.
        """
        loop, backoff = asyncio.get_running_loop(), Backoff(first_seconds=0.02, max_seconds=RETRY_SECONDS_MAX)
        out_since: float | None = None
        while True:
            try:
                return await call(self._connection or await self._connect())
            except Exception as error:
                if not self._is_passing(error):
                    raise mapped(error) from error
                self.drop()
                out_since = out_since or loop.time()
                delay = backoff.next_seconds()
                if loop.time() + delay - out_since > self._settings.outage_seconds_max:
                    raise mapped(error) from error
                log.warning("the database can't be reached, will try again", session=self._name, reason=str(error))
                await asyncio.sleep(delay)

    async def _connect(self) -> Connection:
        connection = Connection(await connect(self._url, self._name, self._settings))
        try:
            await self._prepare(connection)
        except BaseException:
            connection.raw.terminate()
            raise
        self._connection = connection
        return connection

    def _is_passing(self, error: Exception) -> bool:
        """Tell whether a new connection may help. asyncpg reports a broken one by whatever it was about to do."""
        broken = self._connection is not None and self._connection.raw.is_closed()
        return isinstance(error, _PASSING) or (broken and isinstance(error, asyncpg.InterfaceError))

    @property
    def server_process_id(self) -> int:
        """The server's process for the present connection; 0 without one."""
        return self._connection.raw.get_server_pid() if self._connection else 0

    def drop(self) -> None:
        """Let go of the connection, at once: it is broken, or nobody knows what it was doing."""
        if self._connection is not None:
            self._connection.raw.terminate()
            self._connection = None

    async def close(self) -> None:
        """End the session in good order."""
        if self._connection is not None:
            await close(self._connection.raw, self._settings)
            self._connection = None


async def close(raw: Raw, settings: PostgresSettings) -> None:
    """End a connection in good order: when this returns, the server has let go of its locks."""
    try:
        await raw.close(timeout=settings.connect_seconds_max)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        raw.terminate()


async def connect(url: str, name: str, settings: PostgresSettings) -> Raw:
    """Make a connection, set up as all of ours are."""
    milliseconds = str(round(settings.statement_seconds_max * 1_000))
    raw = await asyncpg.connect(
        url,
        timeout=settings.connect_seconds_max,
        command_timeout=settings.statement_seconds_max + SILENCE_SECONDS_MAX,
        target_session_attrs="read-write",
        server_settings={
            "application_name": f"skerry {name}",
            "statement_timeout": milliseconds,
            "default_transaction_isolation": "read committed",
            "idle_in_transaction_session_timeout": milliseconds,
            # Compiling a statement takes longer than any of ours does.
            "jit": "off",
        },
    )
    try:
        # What was acknowledged is on disk, whatever the role or the database has set.
        await raw.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    except BaseException:
        raw.terminate()  # the server went between the two: nobody else knows of this connection
        raise
    return raw


def mapped(error: Exception) -> Exception:
    """Return what an error of the database means to the store; a fault of what was asked stays what it is."""
    if isinstance(error, _FAULTS) or not isinstance(error, _FAILURES):
        return error
    reason = str(error) or type(error).__name__
    if isinstance(error, asyncpg.DiskFullError):
        return OutOfSpace.told_by(error)
    return Unavailable(f"the database cannot serve: {reason}", detail=reason)


def redacted(url: str) -> str:
    """Return a URL without its passwords (`password`, `sslpassword`), as it may be shown and logged.

    Of one whose password has an unescaped `/`, `?` or `#`, which ends the host for whoever reads it, nothing is shown.
    """
    parts = urlsplit(url)
    if "@" not in parts.netloc and "@" in url:
        return f"{parts.scheme}://..."
    user, at, place = parts.netloc.rpartition("@")
    netloc = user.partition(":")[0] + at + place
    query = [(name, value) for name, value in parse_qsl(parts.query) if not name.endswith("password")]
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(query, safe="/")))
