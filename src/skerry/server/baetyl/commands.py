"""Commands to nodes, over their links: what an instance prints, how it is, and what functions count.

Owns the streams of the commands that go on, and their bounds. Does not own the links (`links`), nor what may be asked
for by whom (`node_logs`, `node_metrics`). What a node sends is taken from its link at once, and waits here for who
asked: a reader that is too slow loses the stream, and never holds up the link.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from skerry.api.errors import TooManyRequests
from skerry.fleet import frames
from skerry.fleet.frames import Frame
from skerry.kit.deadlines import within
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.links import Link, Links, Place
from skerry.server.conversations import PeerGone

#: Commands that go on at one node.
COMMANDS_MAX = 16
#: What waits for a reader.
BUFFER_BYTES_MAX = 1024 * 1024
#: How long a node may take to begin its answer, or to refuse; one that follows a log may have nothing to say.
ANSWER_SECONDS_MAX = 15.0
FOLLOWED_SECONDS_MAX = 2.0

NOT_LINKED = "ErrNodeNotLinked"
FAILED = "ErrNodeCommand"


@dataclass(frozen=True, slots=True)
class Command:
    """What is asked of a node.

    Attributes:
        name: logs, describe or metrics.
        meta: of its frame: namespace, name of the instance, and so on.
        content: likewise.
        follows: whether it goes on, maybe without anything to say.
    """

    name: str
    meta: Mapping[str, str]
    content: Any = None
    follows: bool = False


@dataclass
class _Stream:
    """What a node sends for one command."""

    waiting: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0
    #: Why it ended; None while it goes on.
    end: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, frame: Frame) -> None:
        """Take a frame of the node's; after the end there would be a hole. Raises ReportRefused; see `Listener`."""
        if self.end is not None:
            return
        data = frames.read_data(frame.content) if frame.kind == frames.DATA else b""
        if self.waiting_bytes + len(data) > BUFFER_BYTES_MAX:
            self.finish(f"its reader was too slow: more than {BUFFER_BYTES_MAX} bytes waited")
        elif data:
            self.waiting.append(data)
            self.waiting_bytes += len(data)
        if frame.meta.get(frames.SUCCESS) == "false":
            self.finish(frame.meta.get(frames.MESSAGE, "it failed"))
        self.changed.set()

    def finish(self, reason: str) -> None:
        """End, with what waits still to be read; see `Listener`."""
        if self.end is None:
            self.end = reason
        self.changed.set()

    async def begun(self) -> None:
        """Wait until there is something to be read, or the end."""
        while not self.waiting and self.end is None:
            self.changed.clear()
            await self.changed.wait()

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Yield what comes to its end; raises BaetylError where that is a failure."""
        while True:
            await self.begun()
            if self.waiting:
                taken, self.waiting, self.waiting_bytes = b"".join(self.waiting), [], 0
                yield taken
            elif self.end in {frames.DISCONNECT, ""}:
                return
            else:
                raise BaetylError(FAILED, f"The node answered: {self.end}")


class Commands:
    """Asks nodes.

    Args:
        links: of this replica.
    """

    def __init__(self, links: Links) -> None:
        self._links = links

    @asynccontextmanager
    async def run(self, place: Place, command: Command) -> AsyncIterator[AsyncIterator[bytes]]:
        """Have a node do something for the length of the block; yields what it prints.

        Raises:
            BaetylError: it has no link (ErrNodeNotLinked), or it can't or won't do that (ErrNodeCommand); while what it
                prints is read, too.
            TooManyRequests: it does too much at once.
        """
        link = self._links.find(place)
        if link is None:
            raise BaetylError(
                NOT_LINKED,
                f"The node ({place[1]}) has no WebSocket link to the control plane, so it takes no commands.",
            )
        if len(link.listeners) >= COMMANDS_MAX:
            raise TooManyRequests(f"the node {place[1]} does {COMMANDS_MAX} commands already")
        token, stream = uuid.uuid4().hex, _Stream()
        meta = {**command.meta, frames.TOKEN: token}
        link.listeners[token] = stream
        try:
            await _send(link, Frame(frames.COMMAND, {**meta, frames.CMD: command.name}, command.content))
            await _begun(stream, command)
            async with aclosing(stream.parts()) as parts:
                yield parts
        finally:
            del link.listeners[token]
            with suppress(BaetylError):  # it is gone, and its command with it
                await _send(link, Frame(frames.COMMAND, {**meta, frames.CMD: frames.DISCONNECT}))


async def _send(link: Link, frame: Frame) -> None:
    try:
        with within(ANSWER_SECONDS_MAX):
            await link.send(frame)
    except (PeerGone, TimeoutError) as error:
        raise BaetylError(NOT_LINKED, f"The link of the node ({link.place[1]}) was lost.") from error


async def _begun(stream: _Stream, command: Command) -> None:
    """Wait for the begin of an answer, so that a refusal is one; raises BaetylError."""
    try:
        with within(FOLLOWED_SECONDS_MAX if command.follows else ANSWER_SECONDS_MAX):
            await stream.begun()
    except TimeoutError as error:
        if not command.follows:
            raise BaetylError(FAILED, f"The node did not answer within {ANSWER_SECONDS_MAX:.0f} s.", 504) from error
    if not stream.waiting and stream.end not in {None, "", frames.DISCONNECT}:
        raise BaetylError(FAILED, f"The node answered: {stream.end}")
