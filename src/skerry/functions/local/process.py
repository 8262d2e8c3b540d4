"""A process that runs one function: one message after the other, and the next ones at hand."""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors
from skerry.functions.local.calls import TURNS_TO_READ, Calls
from skerry.functions.local.frames import MessageStream, loaded
from skerry.functions.local.message_queue import MessageQueue, NotBegun
from skerry.functions.messages import Logs, Message
from skerry.kit.ending import UNDONE_SECONDS_MAX, begun, ended, to_its_end
from skerry.kit.killing import kill_group
from skerry.kit.processes import Bounds, bound_to_this


@dataclass(frozen=True)
class Program:
    """How the process of a function is started.

    Attributes:
        command: program and arguments; `{fd}` among them stands for the number of the socket's descriptor, over which
            it answers. `{messages}` stands for that of the queue from which it takes its messages, one packet each; a
            program without it is sent them over the same socket, the next one when it has answered.
        folder: its working directory.
        environment: all of its environment variables.
        bounds: what it may have, where it does not see to that itself.
    """

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    bounds: Bounds | None = None

    @property
    def takes_ahead(self) -> bool:
        """Whether the next messages may be at hand."""
        return "{messages}" in self.command


class FunctionProcess:
    """A process that has loaded a function and waits for messages, in a process group of its own.

    It answers when what was printed has been read (where it has messages at hand; else whoever waits for an answer goes
    on after all that was found with it). What a function prints when it has answered is of whatever run goes on then.
    """

    def __init__(self, process: asyncio.subprocess.Process, stream: MessageStream, calls: Calls) -> None:
        self._process = process
        self._stream = stream
        self._calls = calls
        self._watching = asyncio.get_running_loop().create_task(self._watch_end(), name="watch:function")
        #: Messages that it takes before it has answered.
        self.calls_max = calls.calls_max

    @classmethod
    async def start(cls, program: Program) -> Self:
        """Start a process and wait until it has loaded its function.

        Raises:
            FunctionError: the function does not load: as the process says, with the stack trace.
            SystemError: the process ended without a word, or did not load in time.
        """
        started = await begun("start:function", cls._connected(program), cls.kill)
        try:
            await loaded(started._hello())  # noqa: SLF001 - its own
        except BaseException:
            await started.kill()
            raise
        return started

    @classmethod
    async def _connected(cls, program: Program) -> Self:
        """Start a process, with connections to it."""
        with ExitStack() as ours, ExitStack() as theirs:
            queue = MessageQueue() if program.takes_ahead else None
            if queue:
                ours.callback(queue.close)
            socket_here, socket_there = socket.socketpair()
            ours.callback(socket_here.close)
            theirs.callback(socket_there.close)
            printed = [os.pipe(), os.pipe()]
            for here, there in printed:
                ours.callback(os.close, here)
                theirs.callback(os.close, there)
            inherited = {"{fd}": socket_there.fileno()} | ({"{messages}": queue.theirs.fileno()} if queue else {})
            try:
                process = await _spawned(program, inherited, [there for _, there in printed])
            except OSError as error:
                raise SystemError(f"the function's process could not be started: {error}") from error
            try:
                _, stream = await asyncio.get_running_loop().create_connection(MessageStream, sock=socket_here)
            except BaseException:
                await kill_group(process, "function")
                raise
            ours.pop_all()
        return cls(process, stream, Calls(stream, queue, [here for here, _ in printed]))

    async def _hello(self) -> Any:
        try:
            return await self._stream.receive()
        except ConnectionError as error:
            raise await self._ended() from error

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
        """Whether another message may be sent: it has not ended of itself, and nothing failed."""
        return self._calls.is_of_use and self._process.returncode is None

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer; see `pool.FunctionInstance`.

        Args:
            message: to the function.
            logs: takes what the process prints meanwhile.

        Raises:
            NotBegun: it was taken back.
            FunctionError: the answer is over `MESSAGE_BYTES_MAX`, or no message.
            SystemError: the message is over it, or the process ended.
        """
        if not self.is_alive:
            raise NotBegun
        try:
            answer = await self._calls.call(message, logs)
        except ConnectionError as error:
            raise await self._ended() from error
        if not isinstance(answer, dict) or not isinstance(context := answer.get("context") or {}, dict):
            self._calls.is_of_use = False
            raise FunctionError("something in the function's process answered for it, and no message")
        return Message(context, answer.get("payload"))

    async def _watch_end(self) -> None:
        """Have the calls end when the process has: what it started may hold its end of the connection open."""
        await self._process.wait()
        for _ in range(TURNS_TO_READ):
            await asyncio.sleep(0)
        self._stream.abort()

    async def _ended(self) -> SystemError:
        code = await self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return SystemError(f"the function's process ended: {how}")

    def withdraw(self) -> None:
        """Take back the messages that the process has not begun: their calls end with NotBegun."""
        self._calls.withdraw()

    async def kill(self) -> None:
        """End the process and all that it started, and return when it has ended. A cancellation waits for that."""
        self._calls.withdraw()
        await to_its_end("kill:function", self._kill(), seconds_max=UNDONE_SECONDS_MAX)

    async def _kill(self) -> None:
        await kill_group(self._process, "function")  # by its end what it had answered has been read
        await self._calls.close()
        await ended([self._watching])


async def _spawned(
    program: Program, descriptors: Mapping[str, int], printed: Sequence[int]
) -> asyncio.subprocess.Process:
    """Start the process of a program.

    Args:
        program: what is started.
        descriptors: what it inherits, by what stands for each in its command.
        printed: its standard output and error.
    """
    return await asyncio.create_subprocess_exec(
        *(bound_to_this(program.bounds) if program.bounds else ()),
        *(str(descriptors.get(part, part)) for part in program.command),
        cwd=program.folder,
        env=dict(program.environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=printed[0],
        stderr=printed[1],
        pass_fds=tuple(descriptors.values()),
        start_new_session=True,
    )
