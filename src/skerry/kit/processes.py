"""Child processes that are kept running, and that never outlive their parent.

Owns: start, restart with backoff, drain on stop, and what is told of a process that ends again and again as it starts.
Does not own what a command does or when it is ready.
Invariant: at most one process at a time for one `Supervised`, and none after its block has ended.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import Counter, Gauge

from skerry.kit import bound_exec
from skerry.kit.backoff import Backoff
from skerry.kit.deadlines import within
from skerry.kit.ending import to_its_end
from skerry.kit.killing import KILLED_SECONDS_MAX, killed, started_group
from skerry.kit.logs import get_logger, pass_on
from skerry.kit.records import words_of
from skerry.kit.tasks import background

log = get_logger(__name__)
RESTARTS = Counter("skerry_process_restarts_total", "Child processes that ended and were started again.", ["process"])
SHORT_LIVES = Gauge(
    "skerry_process_short_lives", "Lives in a row of a child process that ended soon after their start.", ["process"]
)

#: A process that lived this long is taken for healthy: the next restart is immediate again.
HEALTHY_SECONDS = 10.0
#: After so many short lives in a row the next is not expected to be any better.
SHORT_LIVES_MAX = 3
#: What is told of the last words of a process, in characters.
LAST_WORDS_MAX = 2048
#: What a program of others' has of this process's environment; the rest may be settings of ours, and secrets.
_HANDED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
#: A longer line of a process is passed on as several.
LINE_BYTES_MAX = 16 * 1024
_READ_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a process may have, besides that it ends with this one.

    Attributes:
        limits: names of rlimits with their values, such as ("RLIMIT_NOFILE", 1024).
        cores: the processors that it may run on; none for all.
        user: the ids of the user and the group that it runs as, in no other group; None for those of this process.
            Only root may become another.
    """

    limits: tuple[tuple[str, int], ...] = ()
    cores: tuple[int, ...] = ()
    user: tuple[int, int] | None = None


#: A process that only ends with this one.
UNBOUND = Bounds()


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Attributes:
        name: for logs and metrics, such as "envoy" or "worker-0".
        arguments: the program and its arguments; no shell is involved.
        pass_fds: descriptors that the child inherits under the same numbers.
        output: a file that takes the child's standard output and error; None to inherit them.
        drain_seconds: how long SIGTERM may take before SIGKILL follows.
        environment: variables.
        directory: where it runs; None for where this process does.
        bounds: what it may have.
        inherits: whether it has the environment of this process too, or that which is given here alone.
        restart: whether it is started again when it ends: always, when it failed, or never.
        whole_group: whether what it started itself ends with it.
        heard: whether what it prints comes through this process, which tells its last words; it must start no other
            process that goes on printing, and has no `output`.
    """

    name: str
    arguments: Sequence[str]
    pass_fds: tuple[int, ...] = ()
    output: Path | None = None
    drain_seconds: float = 10.0
    environment: tuple[tuple[str, str], ...] = ()
    directory: Path | None = None
    bounds: Bounds = UNBOUND
    inherits: bool = True
    restart: Literal["always", "on-failure", "never"] = "always"
    whole_group: bool = False
    heard: bool = False

    @property
    def whole_environment(self) -> dict[str, str]:
        """All variables that it gets."""
        inherited = dict(os.environ) if self.inherits else {}  # noqa: TID251 - handed on, not read
        return inherited | dict(self.environment)


def plain_environment() -> dict[str, str]:
    """Return the variables of this process's environment that a program of others' may have."""
    return {name: os.environ[name] for name in _HANDED_ON if name in os.environ}  # noqa: TID251 - handed on, not read


def bound_to_this(bounds: Bounds = UNBOUND) -> tuple[str, ...]:
    """Return what is put before a command's arguments so that it has bounds, and dies with this process."""
    told = json.dumps({"limits": dict(bounds.limits), "cores": bounds.cores, "user": bounds.user})
    return (sys.executable, "-IS", bound_exec.__file__, str(os.getpid()), told)


class Supervised:
    """A running command, as `supervise` yields it."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._started_seconds = 0.0
        self._words = _Words(command.name)
        #: How the last short life ended that the log tells of: its code and last line.
        self._told: tuple[int, str] | None = None
        #: How often it was started again.
        self.restarts = 0
        #: How many lives in a row ended within `HEALTHY_SECONDS`.
        self.short_lives = 0
        #: The last line that its last life printed, where it is heard.
        self.last_line = ""
        #: How its last life ended: an exit code, or a signal as a negative number; None before the first end.
        self.exit_code: int | None = None

    @property
    def is_healthy(self) -> bool:
        """Tell whether it runs, and has for a while or since its beginning."""
        lived = asyncio.get_running_loop().time() - self._started_seconds
        return self.pid is not None and (self.restarts == 0 or lived >= HEALTHY_SECONDS)

    @property
    def failing(self) -> str:
        """One sentence where it ends as it starts, again and again; else ""."""
        if self.short_lives < SHORT_LIVES_MAX:
            return ""
        ended = f"{self._command.name} ended {self.short_lives} times in a row soon after its start"
        return f"{ended}, the last time with code {self.exit_code}: {self.last_line or 'it said nothing'}"

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
            starting = asyncio.create_subprocess_exec(
                *bound_to_this(command.bounds),
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if command.heard else output,
                stderr=asyncio.subprocess.STDOUT if command.heard or output else None,
                pass_fds=command.pass_fds,
                cwd=command.directory,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
                env=command.whole_environment,
            )
            self._process = await started_group(command.name, starting)
        finally:
            if output:
                output.close()
        self._started_seconds = asyncio.get_running_loop().time()

    async def keep(self) -> None:
        """Wait for the end of each life and start the next; returns where there is to be no other."""
        backoff = Backoff(first_seconds=0.05, max_seconds=5.0)
        command = self._command
        while True:
            process = self._process
            if process is not None:
                code = self.exit_code = await self._life(process)
                self._end_group(process)
                if command.restart == "never" or (command.restart == "on-failure" and code == 0):
                    return
                if not self.short_lives:
                    backoff.reset()
                delay = backoff.next_seconds()
                self._tell_end(code)
                await asyncio.sleep(delay)
            try:
                await self.start()
            except OSError:
                log.exception("process did not start", process=command.name)
                self._process = None
                await asyncio.sleep(backoff.next_seconds())

    async def _life(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the end of a life, and hear what it says; returns how it ended."""
        async with asyncio.TaskGroup() as group:
            if process.stdout is not None:
                group.create_task(self._words.hear(process.stdout, process.pid, aloud=not self.short_lives))
            try:
                with within(HEALTHY_SECONDS):
                    code = await process.wait()
            except TimeoutError:
                self._tell_health()
                return await process.wait()
        self.short_lives += 1
        return code

    def _tell_health(self) -> None:
        """A life has lasted."""
        if self.short_lives:
            log.info("process runs again", process=self._command.name, short_lives=self.short_lives)
            SHORT_LIVES.labels(self._command.name).set(0)
        self.short_lives, self._told = 0, None
        self._words.say_aloud()

    def _tell_end(self, code: int) -> None:
        """Count the end of a life; the log tells of it where it differs from that of the short life before."""
        name, said = self._command.name, self._words.last
        self.last_line = (said.splitlines() or [""])[-1]
        self.restarts += 1
        RESTARTS.labels(name).inc()
        if self.short_lives:
            SHORT_LIVES.labels(name).set(self.short_lives)
        if not self.short_lives or self._told != (code, self.last_line):
            log.warning("process ended, starting it again", process=name, exit_code=code, said=said)
        self._told = (code, self.last_line) if self.short_lives else None

    async def stop(self) -> None:
        """End the process: SIGTERM, then after `drain_seconds` SIGKILL; a cancellation waits for that."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        seconds_max = self._command.drain_seconds + 2 * KILLED_SECONDS_MAX
        await to_its_end(f"stop:{self._command.name}", self._stop(process), seconds_max=seconds_max)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.TaskGroup() as group:
            if process.stdout is not None and not self._words.are_heard:  # else it would wait for room in its pipe
                group.create_task(self._words.hear(process.stdout, process.pid, aloud=not self.short_lives))
            await self._terminate(process)
            self._end_group(process)

    async def _terminate(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            with within(self._command.drain_seconds):
                await process.wait()
        except TimeoutError:
            log.warning("process did not drain in time, killing it", process=self._command.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await killed(process, self._command.name, is_heard=True)

    def _end_group(self, process: asyncio.subprocess.Process) -> None:
        """End what a process that has ended itself left behind."""
        if self._command.whole_group:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class _Words:
    """What a process prints: passed on to our standard error line by line, and its end kept.

    A process that ends as it starts says the same each time, so what comes after such an end is held back until the
    process has lived for a while. Then its end is passed on; where it did not live, its supervisor tells it.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._pid = 0
        self._tail = b""
        self._line = b""  # what has come of a line whose end has not
        self._aloud = True
        #: Whether somebody hears it.
        self.are_heard = False

    @property
    def last(self) -> str:
        """The last words, without more than their end."""
        words = "\n".join(map(words_of, self._tail.decode(errors="replace").splitlines()))
        return words.strip()[-LAST_WORDS_MAX:]

    async def hear(self, stream: asyncio.StreamReader, pid: int, *, aloud: bool) -> None:
        """Take what a life says, until its end."""
        self._pid, self._tail, self._line, self._aloud, self.are_heard = pid, b"", b"", aloud, True
        try:
            while piece := await stream.read(_READ_BYTES):
                self._tail = (self._tail + piece)[-LINE_BYTES_MAX:]
                if self._aloud:
                    self._say(piece)
        finally:
            self.are_heard = False
            if self._line:
                self._say(b"\n")

    def say_aloud(self) -> None:
        """Pass on what was held back, and whatever comes."""
        if not self._aloud:
            self._say(self._tail)
        self._aloud = True

    def _say(self, piece: bytes) -> None:
        *lines, self._line = (self._line + piece).split(b"\n")
        if len(self._line) >= LINE_BYTES_MAX:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            pass_on(line.decode(errors="replace"), process=self._process, pid=self._pid)


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
        if supervised.short_lives:
            SHORT_LIVES.remove(command.name)


def bound_output(path: Path, bytes_max: int) -> None:
    """Keep a file that processes append to at a size: beyond it, it is emptied, and what it held is kept beside it.

    What it held is lost where the disk has no room for it.

    Args:
        path: the file; its predecessor has `.1` after its name.
        bytes_max: of each of both.
    """
    if path.stat().st_size > bytes_max:
        before = path.with_name(f"{path.name}.1")
        try:
            shutil.copyfile(path, before)
        except OSError as error:
            before.unlink(missing_ok=True)
            log.warning("what processes printed before is lost", file=str(path), reason=error.strerror or str(error))
        os.truncate(path, 0)
