"""A process that runs one function: one message after the other, and the next ones at hand."""

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from skerry.functions.errors import SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.local.frames import LOAD_SECONDS_MAX, MessageStream, framed_message, parsed
from skerry.functions.local.message_queue import MESSAGES_MAX, MessageQueue, NotBegun
from skerry.functions.local.printed import Lines, Printed
from skerry.functions.messages import Logs, Message
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


class _Call:
    """A message that the process has, until whoever sent it goes on."""

    __slots__ = ("answer", "frame", "lines", "logs", "number")

    def __init__(self, frame: bytes, answer: "asyncio.Future[bytearray]", logs: Logs) -> None:
        self.frame = frame
        #: In the queue; 0 where it was not put there.
        self.number = 0
        self.answer = answer
        self.logs = logs
        #: By descriptor (1, 2), once something was printed.
        self.lines: dict[int, Lines] = {}

    @property
    def has_answer(self) -> bool:
        """Whether the answer is here."""
        return self.answer.done() and not self.answer.cancelled() and self.answer.exception() is None

    def print(self, descriptor: int, more: bytes) -> None:
        """Take in what was printed."""
        lines = self.lines.get(descriptor)
        if lines is None:
            sink = self._to_stdout if descriptor == 1 else self._to_stderr
            lines = self.lines[descriptor] = Lines(sink)
        lines.take(more)

    def _to_stdout(self, lines: list[str]) -> None:
        self.logs.extend(lines, ())

    def _to_stderr(self, lines: list[str]) -> None:
        self.logs.extend((), lines)


class FunctionProcess:
    """A process that has loaded a function and waits for messages, in a process group of its own.

    It begins a message when it has answered the one before, and answers when what was printed meanwhile has been read
    (where it has messages at hand; else whoever waits for an answer goes on after all that was found with it). So what
    is read belongs to the first message that is not answered. What a function prints when it has answered is of
    whatever run goes on then.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        stream: MessageStream,
        queue: MessageQueue | None,
        printed: Sequence[int],
    ) -> None:
        self._process = process
        self._stream = stream
        self._queue = queue
        self._printed = [Printed(here, partial(self._take_print, there)) for there, here in enumerate(printed, 1)]
        self._loop = asyncio.get_running_loop()
        self._calls: list[_Call] = []
        #: Of these, the last ones, which are sent at the end of the loop's turn: the process is woken once for all.
        self._unsent: list[_Call] = []
        self._is_of_use = True
        stream.on_end = self._on_end

    @classmethod
    async def start(cls, program: Program) -> Self:
        """Start a process and wait until it has loaded its function.

        Raises:
            FunctionError: the function does not load: as the process says, with the stack trace.
            SystemError: the process ended without a word, or did not load in time.
        """
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
            ours.callback(_kill_group, process.pid)
            _, stream = await asyncio.get_running_loop().create_connection(MessageStream, sock=socket_here)
            started = cls(process, stream, queue, [here for here, _ in printed])
            ours.pop_all()
        await started._load()
        return started

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(LOAD_SECONDS_MAX):
                hello = parsed(await self._answered(self._stream.expect()))
        except TimeoutError as error:
            await self.kill()
            raise SystemError(f"the function did not load within {LOAD_SECONDS_MAX:.0f} s") from error
        except BaseException:
            await self.kill()
            raise
        if failure := error_of(hello.get("error")):
            await self.kill()
            raise failure

    @property
    def is_process(self) -> bool:
        """It is one."""
        return True

    @property
    def calls_max(self) -> int:
        """Messages that it takes before it has answered."""
        return MESSAGES_MAX if self._queue else 1

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether another message may be sent: it has not ended of itself, and nothing failed."""
        return self._is_of_use and self._process.returncode is None

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer; see `pool.FunctionInstance`.

        Args:
            message: to the function.
            logs: takes what the process prints meanwhile.

        Raises:
            NotBegun: it was taken back.
            FunctionError: the answer is over `MESSAGE_BYTES_MAX`, or no JSON.
            SystemError: the message is over it, or the process ended.
        """
        if not self.is_alive:
            raise NotBegun
        call = _Call(framed_message(message), self._stream.expect(), logs)
        self._calls.append(call)
        if not self._unsent:
            self._loop.call_soon(self._send_all)
        self._unsent.append(call)
        try:
            answer = parsed(await self._answered(call.answer))
        except NotBegun:
            raise
        except BaseException:
            self._give_up(call)
            raise
        finally:
            self._end(call)
        return Message(answer.get("context") or {}, answer.get("payload"))

    def _send_all(self) -> None:
        unsent = deque(self._unsent)
        self._unsent.clear()
        while unsent:
            call = unsent.popleft()
            try:
                self._send(call)
            except OSError as error:
                self._is_of_use = False
                self._unsent = list(unsent)
                if not call.answer.done():
                    reason = f"the message can't be handed to the function's process: {error}"
                    call.answer.set_exception(SystemError(reason))
                return

    def _send(self, call: _Call) -> None:
        if self._queue is None:
            self._stream.send(call.frame)
        else:
            call.number = self._queue.put(call.frame)

    async def _answered(self, answer: "asyncio.Future[bytearray]") -> bytearray:
        try:
            return await answer
        except ConnectionError as error:
            raise SystemError(f"the function's process ended: {await self._ending()}") from error

    async def _ending(self) -> str:
        code = await self._process.wait()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _give_up(self, call: _Call) -> None:
        """End a call without its answer: where the process runs it, that is of no further use."""
        self.withdraw()
        if self._calls and call is self._calls[-1]:  # what is before the last one has its answer on the way
            self._is_of_use = False
            for printed in self._printed:
                printed.drain()

    def _end(self, call: _Call) -> None:
        for printed in self._printed:
            printed.give()
        if call in self._calls:
            self._calls.remove(call)
        for lines in call.lines.values():
            lines.end()

    def withdraw(self) -> None:
        """Take back the messages that the process has not begun: their calls end with NotBegun."""
        self._take_back(spared=None)

    def _on_end(self) -> None:
        """Take back what an ended process has not begun; its end is of the first message, begun or not."""
        self._is_of_use = False
        self._take_back(spared=next((call for call in self._calls if not call.has_answer), None))

    def _take_back(self, spared: _Call | None) -> None:
        unsent, self._unsent = self._unsent, []
        numbers = self._queue.take_back() if self._queue else ()
        for call in [call for call in self._calls if (call.number in numbers or call in unsent) and call is not spared]:
            self._calls.remove(call)
            self._stream.forget(call.answer)
            if not call.answer.done():
                call.answer.set_exception(NotBegun())

    def _take_print(self, descriptor: int, more: bytes) -> None:
        call = next((call for call in self._calls if not call.has_answer), self._calls[-1] if self._calls else None)
        if call is not None:
            call.print(descriptor, more)

    async def kill(self) -> None:
        """End the process and all that it started, and wait until it has ended."""
        self._is_of_use = False
        self.withdraw()
        _kill_group(self._process.pid)
        await self._process.wait()  # by then what it had answered has been read
        await self._stream.close()
        for printed in self._printed:
            printed.close()
        if self._queue:
            self._queue.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


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
