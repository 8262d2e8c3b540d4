"""Child processes that are kept running, and that never outlive their parent.

Owns: start, restart with backoff, drain on stop. Does not own what a command does or when it is ready.
Invariant: at most one process at a time for one `Supervised`, and none after its block has ended.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Counter

from skerry.kit.backoff import Backoff
from skerry.kit.logs import get_logger
from skerry.kit.tasks import background

log = get_logger(__name__)
RESTARTS = Counter("skerry_process_restarts_total", "Child processes that ended and were started again.", ["process"])

#: A process that lived this long is taken for healthy: the next restart is immediate again.
HEALTHY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Attributes:
        name: for logs and metrics, such as "envoy" or "worker-0".
        arguments: the program and its arguments; no shell is involved.
        pass_fds: descriptors that the child inherits under the same numbers.
        output: a file that takes the child's standard output and error; None to inherit them.
        drain_seconds: how long SIGTERM may take before SIGKILL follows.
        environment: added to this process' own environment.
    """

    name: str
    arguments: Sequence[str]
    pass_fds: tuple[int, ...] = ()
    output: Path | None = None
    drain_seconds: float = 10.0
    environment: tuple[tuple[str, str], ...] = ()


class Supervised:
    """A running command, as `supervise` yields it."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process id, or None between two lives."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the process, bound to this one's life."""
        command = self._command
        output = command.output.open("ab") if command.output else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "skerry.kit.bound_exec",
                str(os.getpid()),
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT if output else None,
                pass_fds=command.pass_fds,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
                env={**os.environ, **dict(command.environment)},  # noqa: TID251 - handed on, not read
            )
        finally:
            if output:
                output.close()

    async def keep(self) -> None:
        """Wait for the end of each life and start the next; never returns."""
        backoff = Backoff(first_seconds=0.05, max_seconds=5.0)
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            process = self._process
            if process is not None:
                code = await process.wait()
                if clock() - started >= HEALTHY_SECONDS:
                    backoff.reset()
                delay = backoff.next_seconds()
                self.restarts += 1
                RESTARTS.labels(self._command.name).inc()
                log.warning("process ended, starting it again", process=self._command.name, exit_code=code)
                await asyncio.sleep(delay)
            try:
                await self.start()
            except OSError:
                log.exception("process did not start", process=self._command.name)
                self._process = None
                await asyncio.sleep(backoff.next_seconds())

    async def stop(self) -> None:
        """End the process: SIGTERM, then after `drain_seconds` SIGKILL."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._command.drain_seconds):
                await process.wait()
        except TimeoutError:
            log.warning("process did not drain in time, killing it", process=self._command.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@asynccontextmanager
async def supervise(command: Command) -> AsyncIterator[Supervised]:
    """Run a command for the length of the block, restarted whenever it ends, stopped on exit."""
    supervised = Supervised(command)
    await supervised.start()
    try:
        async with background((f"supervise:{command.name}", supervised.keep)):
            yield supervised
    finally:
        await supervised.stop()
