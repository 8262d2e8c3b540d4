"""Functions within the Wasm engine: one worker process for all of them, and instances that cost a few megabytes each.

What this room needs of the engine is `Engine`; whoever wires the rooms hands one in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import orjson

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors
from skerry.functions.local.calls import Calls
from skerry.functions.local.frames import MessageStream, framed, loaded
from skerry.functions.local.message_queue import MessageQueue, NotBegun
from skerry.functions.messages import SECONDS_KEY, Logs, Message
from skerry.kit.ending import UNDONE_SECONDS_MAX, to_its_end

#: A deployment's Wasm binary, in its folder.
BINARY = "function.wasm"
#: From this level on, a line is of standard error.
_WARN = 2
#: How the messages begin that are lines.
_LINE = b'{"log":'


class Engine(Protocol):
    """Runs Wasm binaries, and JavaScript that was made one."""

    def register(self, name: str, binary: Path) -> None:
        """Make a binary known by a name, a lower-case DNS subdomain; once more is no error. Raises ValueError."""
        ...

    def forget(self, name: str) -> None:
        """Let go of a binary; one that is not known is no error."""
        ...

    async def connect(self, protocol: Callable[[], asyncio.Protocol], begin: bytes, queue: int) -> None:
        """Open a connection for a protocol; raises OSError.

        Args:
            protocol: makes it.
            begin: sent first: `{"deployment": name}`, answered with `{"error": null}` or an error as runs carry it.
            queue: descriptor that goes along, from which messages are taken: `message_queue`. One after the other is
                answered with any number of `{"log": [level, text]}` (2 and above: a warning, an error) and one
                `{"answer": message, "seconds": float}`. Who closes the connection ends what runs.
        """
        ...


def forget(engine: Engine, folder: Path) -> None:
    """Have the engine let go of the deployment in a folder."""
    with suppress(FileNotFoundError):  # it has no binary
        engine.forget(_name(folder))


def _name(folder: Path) -> str:
    """Return what the engine calls a deployment: one that was made again is another one to it."""
    return f"{folder.name}-{(folder / BINARY).stat().st_mtime_ns:x}"


class EngineInstance:
    """A connection to the engine that calls one function: one message after the other, and the next ones at hand."""

    def __init__(self, stream: MessageStream, queue: MessageQueue, *, is_program: bool) -> None:
        self._stream = stream
        self._is_program = is_program
        self._calls = Calls(stream, queue)
        stream.sift = self._take_line

    @classmethod
    async def start(cls, engine: Engine, folder: Path, *, is_program: bool = False) -> Self:
        """Connect, and wait until the function has loaded.

        Args:
            engine: that runs it.
            folder: of the deployment, with `BINARY` in it.
            is_program: whether all that it writes is its standard error, since its standard output is the answer.

        Raises:
            FunctionError: the function does not load.
            SystemError: the engine is not there.
        """
        stream, queue = MessageStream(), MessageQueue()
        instance = cls(stream, queue, is_program=is_program)
        try:
            await _connect(engine, folder, stream, queue)
            await loaded(_unless_ended(stream.receive()))
        except BaseException:
            await instance.kill()
            raise
        return instance

    @property
    def is_process(self) -> bool:
        """It is one of many within a process."""
        return False

    @property
    def is_alive(self) -> bool:
        """Whether the engine is still there, and nothing failed."""
        return self._stream.is_open and self._calls.is_of_use

    @property
    def calls_max(self) -> int:
        """Messages that it takes before it has answered."""
        return self._calls.calls_max

    def withdraw(self) -> None:
        """Take back the messages that have not begun: their calls end with NotBegun."""
        self._calls.withdraw()

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer; see `pool.FunctionInstance`."""
        if not self.is_alive:
            raise NotBegun
        told = _object(await _unless_ended(self._calls.call(message, logs)))
        answer = told.get("answer")
        if not isinstance(answer, dict) or not isinstance(context := answer.get("context") or {}, dict):
            self._calls.is_of_use = False
            raise FunctionError('the function\'s output is no message: {"context": {"error": null}, "payload": ...}')
        return Message({**context, SECONDS_KEY: told.get(SECONDS_KEY)}, answer.get("payload"))

    def _take_line(self, frame: bytearray) -> bool:
        """Give a line to the call that wrote it."""
        if not frame.startswith(_LINE):
            return False
        level, text = orjson.loads(frame)["log"]
        lines = text.splitlines() or [""]
        if call := self._calls.present:
            call.logs.extend(*((), lines) if level >= _WARN or self._is_program else (lines, ()))
        return True

    async def kill(self) -> None:
        """Close the connection, which ends what runs. A cancellation waits for that."""
        await to_its_end("kill:instance", self._calls.close(), seconds_max=UNDONE_SECONDS_MAX)


async def _connect(engine: Engine, folder: Path, stream: MessageStream, queue: MessageQueue) -> None:
    try:
        name = _name(folder)
        await asyncio.to_thread(engine.register, name, folder / BINARY)
        begin = framed(orjson.dumps({"deployment": name}))
        await engine.connect(lambda: stream, begin, queue.theirs.fileno())
    except (OSError, ValueError) as error:
        raise SystemError(f"the Wasm engine can't be reached: {error}") from error


async def _unless_ended(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except ConnectionError as error:
        raise SystemError("the Wasm engine's process ended") from error


def _object(read: Any) -> dict[str, Any]:
    return read if isinstance(read, dict) else {}
