"""The logs of functions on this node: they end with their function.

Owns their end. Does not own how they are written and read (`engine`). A log has the name of one function object, so the
next function of the same name has another.
"""

from collections.abc import Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from skerry.agent.idle import Idle
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.engine.function_logs import list_logs, remove_log
from skerry.engine.manifest import log_name
from skerry.kit.clock import Clock
from skerry.kit.tasks import run_blocking


class FunctionLogFiles:
    """The logs in one folder.

    Args:
        directory: of the logs.
        clock: measures the grace of logs whose function has gone: it may still be answering.
        executor: for file work.
    """

    def __init__(self, directory: Path, clock: Clock, executor: Executor) -> None:
        self._directory = directory
        self._executor = executor
        self._idle = Idle(clock)

    async def remove_idle(self, functions: Iterable[EdgeFunction]) -> None:
        """Remove the logs that are of none of these functions."""
        present = await run_blocking(self._executor, partial(list_logs, self._directory))
        in_use = {log_name(function.name, function.uid) for function in functions}
        for name in self._idle.expired(present, in_use):
            await run_blocking(self._executor, partial(remove_log, self._directory, name))
