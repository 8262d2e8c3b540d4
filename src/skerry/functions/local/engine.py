"""Functions within the Wasm engine: one worker process for all of them, and instances that cost a few megabytes each.

What this room needs of the engine is `Engine`; whoever wires the rooms hands one in.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import orjson

from skerry.functions.errors import FunctionError, SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.local.frames import LOAD_SECONDS_MAX, MessageStream, framed, framed_message
from skerry.functions.local.message_queue import NotBegun
from skerry.functions.messages import Logs, Message

#: A deployment's Wasm binary, in its folder.
BINARY = "function.wasm"
#: From this level on, a line is of standard error.
_WARN = 2


class Engine(Protocol):
    """Runs Wasm binaries, and JavaScript that was made one."""

    def register(self, name: str, binary: Path) -> None:
        """Make a binary known by a name, a lower-case DNS subdomain; once more is no error. Raises ValueError."""
        ...

    def forget(self, name: str) -> None:
        """Let go of a binary; one that is not known is no error."""
        ...

    async def connect(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Open a connection for a protocol; raises OSError.

        It takes `{"deployment": name}`, which is answered with `{"error": null}` or an error as runs carry it; then one
        message after the other, each answered with any number of `{"log": [level, text]}` (2 and above: a warning, an
        error) and one `{"answer": message}`. Who closes it ends what runs.
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
    """A connection to the engine that calls one function, one run at a time."""

    def __init__(self, stream: MessageStream, *, is_program: bool) -> None:
        self._stream = stream
        self._is_program = is_program
        self._has_failed = False

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
        try:
            name = _name(folder)
            await asyncio.to_thread(engine.register, name, folder / BINARY)
            stream = MessageStream()
            await engine.connect(lambda: stream)
        except (OSError, ValueError) as error:
            raise SystemError(f"the Wasm engine can't be reached: {error}") from error
        instance = cls(stream, is_program=is_program)
        try:
            async with asyncio.timeout(LOAD_SECONDS_MAX):
                hello = await instance._exchange(framed(orjson.dumps({"deployment": name})))
        except TimeoutError as error:
            await instance.kill()
            raise SystemError(f"the function did not load within {LOAD_SECONDS_MAX:.0f} s") from error
        except BaseException:
            await instance.kill()
            raise
        if failure := error_of(hello.get("error")):
            await instance.kill()
            raise failure
        return instance

    @property
    def is_process(self) -> bool:
        """It is one of many within a process."""
        return False

    @property
    def is_alive(self) -> bool:
        """Whether the engine is still there, and nothing failed."""
        return self._stream.is_open and not self._has_failed

    @property
    def calls_max(self) -> int:
        """Messages that it takes before it has answered."""
        return 1

    def withdraw(self) -> None:
        """Do nothing: no message waits here."""

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer; see `pool.FunctionInstance`."""
        if not self.is_alive:
            raise NotBegun
        try:
            return await self._call(message, logs)
        except BaseException:
            self._has_failed = True
            raise

    async def _call(self, message: Message, logs: Logs) -> Message:
        frame = await self._exchange(framed_message(message))
        while (line := frame.get("log")) is not None:
            level, text = line
            lines = text.splitlines() or [""]
            logs.extend(*((), lines) if level >= _WARN or self._is_program else (lines, ()))
            frame = await self._exchange(b"")
        answer = frame.get("answer")
        if not isinstance(answer, dict) or not isinstance(context := answer.get("context") or {}, dict):
            raise FunctionError('the function\'s output is no message: {"context": {"error": null}, "payload": ...}')
        return Message(context, answer.get("payload"))

    async def _exchange(self, frame: bytes) -> dict[str, Any]:
        try:
            self._stream.send(frame)
            read = await self._stream.receive()
        except ConnectionError as error:
            raise SystemError("the Wasm engine's process ended") from error
        return read if isinstance(read, dict) else {}

    async def kill(self) -> None:
        """Close the connection, which ends what runs."""
        await self._stream.close()
