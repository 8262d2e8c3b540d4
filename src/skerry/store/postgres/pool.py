"""Sessions for what lies beside the log: calls wait in one lane, and each takes whichever session is free.

As with any session, a call may be made twice, and ends with what `session` tells of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from skerry.store.lane import Outcome
from skerry.store.postgres.lane import Lane, LaneSettings, open_lane
from skerry.store.postgres.session import Connection, PostgresSettings, Session

Job: TypeAlias = Callable[[Connection], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What makes a pool.

    Attributes:
        name: for the server's administrator, tasks and statistics.
        connections: calls that are made at once; each is opened when it is needed.
        waiting_max: calls accepted and not answered.
    """

    name: str
    connections: int
    waiting_max: int


@asynccontextmanager
async def open_pool(url: str, settings: PoolSettings) -> AsyncIterator[Lane[Job]]:
    """Have calls made on sessions of one's own for the length of the block; `Lane.call` makes one."""
    limit = (f"{settings.name}_waiting_max", settings.waiting_max)
    lane: Lane[Job] = Lane(LaneSettings(settings.name, limit, batch_max=1))
    sessions = [Session(settings.name, url, PostgresSettings()) for _ in range(settings.connections)]
    async with AsyncExitStack() as stack:
        for session in sessions:
            stack.push_async_callback(session.close)
        await stack.enter_async_context(open_lane(lane, *(partial(_run, session) for session in sessions)))
        yield lane


async def _run(session: Session, jobs: Sequence[Job]) -> Sequence[Outcome]:
    return [Outcome(result=await session.run(job)) for job in jobs]
