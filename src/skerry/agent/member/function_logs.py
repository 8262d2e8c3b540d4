"""What functions print that this node's Gateways serve: read from the files of its engine workers."""

import datetime as dt
from collections.abc import AsyncGenerator
from pathlib import Path

from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.slice_log import SliceLog
from skerry.api.errors import NotFound
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.client.transport import Target
from skerry.fleet.log_wishes import LogWish
from skerry.kit.clock import Clock


class SliceFunctionLogs:
    """The logs of the functions of this node's slice.

    Args:
        slice_log: has the functions.
        directory: of the logs.
        clock: tells since when lines are wanted.
    """

    def __init__(self, slice_log: SliceLog, directory: Path, clock: Clock) -> None:
        self._log = slice_log
        self._directory = directory
        self._clock = clock

    async def printed(self, function: str, wish: LogWish) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a function, JSON each, and those that come where they are followed.

        Raises:
            ApplicationError: no Gateway of this node leads to it, or its log does not tell what is wished for.
        """
        # Here: a node that runs no Gateway does without the engine.
        from skerry.engine.function_logs import FunctionLogs, LineFilter
        from skerry.engine.manifest import log_name

        if wish.previous or wish.timestamps:
            raise ApplicationError("a function has one log, whose lines have their times: previous, timestamps: no")
        try:
            metadata = (await self._log.get(Target(EDGE_FUNCTION, "", function)))["metadata"]
        except NotFound as error:
            raise ApplicationError(f"no Gateway of this node leads to the function {function[:64]!r}") from error
        since = None
        if wish.since_seconds is not None:
            since = self._clock.now() - dt.timedelta(seconds=wish.since_seconds)
        logs = FunctionLogs(self._directory)
        try:
            lines = logs.read(
                log_name(metadata["name"], metadata["uid"]),
                follow=wish.follow,
                tail_lines=wish.tail_lines,
                wanted=LineFilter(since),
            )
            async for line in lines:
                yield line.encode() + b"\n"
        finally:
            logs.close()
