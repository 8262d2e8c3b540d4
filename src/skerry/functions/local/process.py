"""A process that runs one function, one run at a time, and what it prints."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from skerry.functions.errors import SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.local.frames import LOAD_SECONDS_MAX, MessageStream, framed_message
from skerry.functions.messages import Logs, Message
from skerry.kit.processes import Bounds, bound_to_this

#: What one run may print to each of stdout and stderr; what is over it is dropped, and a line tells so.
OUTPUT_BYTES_MAX = 1 << 20

#: All that a pipe can hold, for who may not raise the system's own limit of it.
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Program:
    """How the process of a function is started.

    Attributes:
        command: program and arguments; `{fd}` among them stands for the number of the socket's descriptor.
        folder: its working directory.
        environment: all of its environment variables.
        bounds: what it may have, where it does not see to that itself.
    """

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    bounds: Bounds | None = None


#: Takes lines.
Sink = Callable[[list[str]], None]


class Printed:
    """What comes out of one descriptor of a process: read as it comes, so that the process never waits for us.

    Attributes:
        descriptor: where it is read.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._sink: Sink | None = None
        self._rest = bytearray()  # of a line that has not ended
        self._taken = self._dropped = 0
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> bool:
        """Take in what is there; False if that is nothing for now, or nothing any more."""
        try:
            more = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not more:
            self._loop.remove_reader(self.descriptor)
            return False
        if self._sink is not None:
            self._take(more, self._sink)
        return True

    def _take(self, more: bytes, sink: Sink) -> None:
        room = max(OUTPUT_BYTES_MAX - self._taken, 0)
        self._taken += min(len(more), room)
        self._dropped += max(len(more) - room, 0)
        whole, newline, rest = more[:room].rpartition(b"\n")
        if newline:
            sink((bytes(self._rest) + whole).decode(errors="replace").splitlines() or [""])
            self._rest.clear()
        self._rest += rest

    def begin(self, sink: Sink) -> None:
        """Give lines to a sink as they come, from now on."""
        self._sink = sink

    def end(self) -> None:
        """Give the rest of what was taken in, and no more."""
        if self._sink is None:
            return
        if self._rest:
            self._sink(self._rest.decode(errors="replace").splitlines())
        if self._dropped:
            self._sink([f"[{self._dropped} more bytes were dropped: a run may print {OUTPUT_BYTES_MAX}]"])
        self._sink = None
        self._rest.clear()
        self._taken = self._dropped = 0

    def drain(self) -> None:
        """Take in all that is there."""
        while self._read():
            pass

    def close(self) -> None:
        """Stop reading."""
        self._loop.remove_reader(self.descriptor)
        os.close(self.descriptor)


class FunctionProcess:
    """A process that has loaded a function and waits for messages, in a process group of its own.

    What a run printed was written before its answer was, so the event loop finds it no later than the answer; whoever
    waits for the answer goes on after all that was found. So nobody asks for it, which would cost a call of the system
    and a pass of Python's lock each time. What a function prints when it has answered is of whatever run goes on then.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, stream: MessageStream, printed: tuple[Printed, Printed]
    ) -> None:
        self._process = process
        self._stream = stream
        self._stdout, self._stderr = printed

    @classmethod
    async def start(cls, program: Program) -> Self:
        """Start a process and wait until it has loaded its function.

        Raises:
            FunctionError: the function does not load: as the process says, with the stack trace.
            SystemError: the process ended without a word, or did not load in time.
        """
        ours, theirs = socket.socketpair()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(bound_to_this(program.bounds) if program.bounds else ()),
                *(part.replace("{fd}", str(theirs.fileno())) for part in program.command),
                cwd=program.folder,
                env=dict(program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out_end,
                stderr=err_end,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(out)
            os.close(err)
            raise SystemError(f"the function's process could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(out_end)
            os.close(err_end)
        _, stream = await asyncio.get_running_loop().create_connection(MessageStream, sock=ours)
        started = cls(process, stream, (Printed(out), Printed(err)))
        try:
            async with asyncio.timeout(LOAD_SECONDS_MAX):
                hello = await started._receive()
        except TimeoutError as error:
            await started.kill()
            raise SystemError(f"the function did not load within {LOAD_SECONDS_MAX:.0f} s") from error
        except BaseException:
            await started.kill()
            raise
        if failure := error_of(hello.get("error")):
            await started.kill()
            raise failure
        return started

    @property
    def is_process(self) -> bool:
        """It is one."""
        return True

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether another message may be sent: it has not ended of itself."""
        return self._process.returncode is None

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer. After any exception the process is of no use, and to be killed.

        Args:
            message: to the function.
            logs: takes what the process prints meanwhile.

        Raises:
            FunctionError: the answer is over `MESSAGE_BYTES_MAX`.
            SystemError: the message is, or the process ended.
        """
        frame = framed_message(message)
        self._stdout.begin(lambda lines: logs.extend(lines, ()))
        self._stderr.begin(lambda lines: logs.extend((), lines))
        try:
            self._stream.send(frame)
            answer = await self._receive()
        except BaseException:
            self._stdout.drain()
            self._stderr.drain()
            raise
        finally:
            self._stdout.end()
            self._stderr.end()
        return Message(answer.get("context") or {}, answer.get("payload"))

    async def _receive(self) -> Any:
        try:
            return await self._stream.receive()
        except ConnectionError as error:
            raise SystemError(f"the function's process ended: {await self._ending()}") from error

    async def _ending(self) -> str:
        code = await self._process.wait()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def kill(self) -> None:
        """End the process and all that it started, and wait until it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._stream.close()
        await self._process.wait()
        self._stdout.close()
        self._stderr.close()
