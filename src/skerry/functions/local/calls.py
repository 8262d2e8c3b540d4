"""The messages that an instance has, from when they are sent until whoever sent them goes on with the answers.

Owns the order of messages and answers, what is taken back, and whose lines are whose. Does not own the instance, which
says what its end means.

Invariant: an instance begins a message when it has answered the one before. So what it writes belongs to the first
message that is not answered, and the last one that can't be taken back is the one that it runs.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from skerry.functions.errors import SystemError  # noqa: A004 - see errors
from skerry.functions.local.frames import MessageStream, framed_message, parsed
from skerry.functions.local.message_queue import MESSAGES_MAX, MessageQueue, NotBegun
from skerry.functions.local.printed import Lines, Printed
from skerry.functions.messages import Logs, Message

#: Turns of the loop after which what has been answered has been read.
TURNS_TO_READ = 2


class Call:
    """A message that the instance has."""

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


class Calls:
    """The calls of one instance.

    Args:
        stream: where it answers.
        queue: where it takes messages; None where they are sent over the stream, one at a time.
        printed: descriptors that have what it prints, standard output first; closed with the calls.
    """

    def __init__(self, stream: MessageStream, queue: MessageQueue | None, printed: Sequence[int] = ()) -> None:
        #: Whether another message may be sent.
        self.is_of_use = True
        self._stream = stream
        self._queue = queue
        self._printed = [Printed(here, partial(self._print, there)) for there, here in enumerate(printed, 1)]
        self._loop = asyncio.get_running_loop()
        self._calls: list[Call] = []
        #: Of these, the last ones, which are sent at the end of the loop's turn: the instance is woken once for all.
        self._unsent: list[Call] = []
        stream.on_end = self._on_end

    @property
    def calls_max(self) -> int:
        """Messages that may be sent before the first is answered."""
        return MESSAGES_MAX if self._queue else 1

    @property
    def present(self) -> Call | None:
        """The call whose lines come now."""
        return next((call for call in self._calls if not call.has_answer), self._calls[-1] if self._calls else None)

    async def call(self, message: Message, logs: Logs) -> Any:
        """Send a message, and wait for the answer.

        Args:
            message: to the function.
            logs: takes what is printed meanwhile.

        Returns:
            The answer, parsed.

        Raises:
            NotBegun: it was taken back.
            FunctionError: the answer is over `MESSAGE_BYTES_MAX`, or no JSON.
            SystemError: the message is over it, or can't be sent.
            ConnectionError: the instance ended.
        """
        if not self.is_of_use:
            raise NotBegun
        call = Call(framed_message(message), self._stream.expect(), logs)
        self._calls.append(call)
        if not self._unsent:
            self._loop.call_soon(self._send_all)
        self._unsent.append(call)
        try:
            return parsed(await call.answer)
        except NotBegun:
            raise
        except BaseException:
            self._give_up(call)
            raise
        finally:
            self._end(call)

    def _send_all(self) -> None:
        unsent, self._unsent = self._unsent, []
        for place, call in enumerate(unsent):
            try:
                self._send(call)
            except OSError as error:
                self.is_of_use = False
                self._unsent = unsent[place + 1 :]
                if not call.answer.done():
                    call.answer.set_exception(SystemError(f"the message can't be handed to the function: {error}"))
                return

    def _send(self, call: Call) -> None:
        if self._queue is None:
            self._stream.send(call.frame)
        else:
            call.number = self._queue.put(call.frame)

    def _give_up(self, call: Call) -> None:
        """End a call without its answer: where it runs, the instance is of no further use."""
        self.withdraw()
        if self._calls and call is self._calls[-1]:  # what is before the last one has its answer on the way
            self.is_of_use = False
            for printed in self._printed:
                printed.drain()

    def _end(self, call: Call) -> None:
        for printed in self._printed:
            printed.give()
        if call in self._calls:
            self._calls.remove(call)
        for lines in call.lines.values():
            lines.end()

    def withdraw(self) -> None:
        """Take back the messages that have not begun: their calls end with NotBegun."""
        self._take_back(spared=None)

    def _on_end(self) -> None:
        """Take back what an ended instance has not begun; its end is of the first message, begun or not."""
        self.is_of_use = False
        self._take_back(spared=next((call for call in self._calls if not call.has_answer), None))

    def _take_back(self, spared: Call | None) -> None:
        unsent, self._unsent = self._unsent, []
        numbers = self._queue.take_back() if self._queue else ()
        for call in [call for call in self._calls if (call.number in numbers or call in unsent) and call is not spared]:
            self._calls.remove(call)
            self._stream.forget(call.answer)
            if not call.answer.done():
                call.answer.set_exception(NotBegun())

    def _print(self, descriptor: int, more: bytes) -> None:
        if call := self.present:
            call.print(descriptor, more)

    async def close(self) -> None:
        """End all calls: with NotBegun where they have not begun, else with ConnectionError."""
        self.is_of_use = False
        self.withdraw()
        try:
            for _ in range(TURNS_TO_READ):
                await asyncio.sleep(0)
        finally:
            for printed in self._printed:
                printed.close()
            if self._queue:
                self._queue.close()
            await self._stream.close()
