"""Conversations: answers that go on in messages both ways, as WebSockets carry them (RFC 6455).

A request for one is let in as any other request, and answered by an error or with a `Conversation`, which then has a
`Peer`. Owns how a conversation begins and ends, and that each of its messages is let in as a request is: whoever is
locked out meanwhile is not heard any more, and messages count among what is in flight. Does not own what is said.

Invariant: one message of a peer is taken at a time. The next is not read off its socket before the one before is
handled, so a peer that sends faster than it is answered waits, by TCP's own means.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from skerry.api.errors import ApiError, Timeout, TooManyRequests, Unauthorized
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger

log = get_logger(__name__)

Headers = list[tuple[bytes, bytes]]

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: RFC 6455, 7.4.1; above 4000, ours.
NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER = 1000, 1001, 1008, 1011, 1013
REPLACED, LOCKED_OUT = 4409, 4401
#: A close frame has no more room for its reason.
REASON_BYTES_MAX = 123
#: How long a farewell may wait for room in a socket's buffer.
CLOSE_SECONDS_MAX = 5.0


class PeerGone(Exception):
    """The other side has left, or its connection is lost."""


class Closing(Exception):
    """This side ends the conversation.

    Attributes:
        close_code: one of the codes above.
        reason: a sentence for the other side.
    """

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason


class Peer:
    """The other side of a conversation.

    Args:
        receive: ASGI's.
        send: ASGI's.
        admit: lets one message in for the length of a block; raises ApiError where it may not be handled.
    """

    def __init__(self, receive: _Receive, send: _Send, admit: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._receive = receive
        self._send = send
        self.admitted = admit
        self._closing: Closing | None = None

    async def accept(self, headers: Headers) -> None:
        """Answer the handshake; raises PeerGone."""
        if (await self._receive())["type"] != "websocket.connect":
            raise PeerGone
        await self._sent({"type": "websocket.accept", "headers": headers})

    async def receive(self, seconds: float) -> bytes:
        """Return the next message.

        Args:
            seconds: how long the other side may be silent.

        Raises:
            PeerGone: it left.
            Closing: it was silent for too long, or `close` was called.
        """
        try:
            with within(seconds):
                message = await self._receive()
        except TimeoutError as error:
            raise Closing(GOING_AWAY, f"nothing was said for {seconds:.0f}s") from error
        if self._closing is not None:
            raise self._closing
        if message["type"] != "websocket.receive":
            raise PeerGone
        text: str | None = message.get("text")
        data: bytes = message.get("bytes") or b"" if text is None else text.encode()
        return data

    async def send(self, message: bytes) -> None:
        """Send a message as text, once there is room for it in the socket's buffer; raises PeerGone."""
        if self._closing is not None:
            raise PeerGone
        await self._sent({"type": "websocket.send", "text": message.decode()})

    async def _sent(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError as error:  # uvicorn's ClientDisconnected is one
            raise PeerGone from error

    async def close(self, closing: Closing) -> None:
        """End the conversation from anywhere; who receives is told so."""
        if self._closing is not None:
            return
        self._closing = closing
        reason = closing.reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        # A peer that takes nothing more is cut by its pings.
        with suppress(PeerGone, TimeoutError), within(CLOSE_SECONDS_MAX):
            await self._sent({"type": "websocket.close", "code": closing.close_code, "reason": reason})


@dataclass(frozen=True, slots=True)
class Conversation:
    """An answer that goes on in messages; `hold` returns when it is over."""

    hold: Callable[[Peer], Awaitable[None]]


async def converse(answer: Conversation, peer: Peer, headers: Headers) -> None:
    """Begin a conversation, hold it, and end it as it should be.

    Args:
        answer: what is held.
        peer: with whom.
        headers: of the answer to the handshake.
    """
    try:
        await peer.accept(headers)
        await answer.hold(peer)
    except PeerGone:
        return
    except Closing as closing:
        await peer.close(closing)
    except ApiError as error:
        await peer.close(closing_for(error))
    except Exception:
        # The handshake is answered, so all that can be told is that it ends here.
        log.exception("a conversation failed")
        await peer.close(Closing(INTERNAL_ERROR, "an error on the server: see its log"))
    else:
        await peer.close(Closing(NORMAL, "done"))


def refusing_handshake(send: _Send) -> _Send:
    """Return what sends an ordinary answer to a handshake that is not taken."""

    async def refuse(message: MutableMapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return refuse


def closing_for(error: ApiError) -> Closing:
    """Return how a conversation ends by an error."""
    if isinstance(error, Unauthorized):
        return Closing(LOCKED_OUT, "its certificate is not valid any more")
    if isinstance(error, TooManyRequests | Timeout):
        return Closing(TRY_AGAIN_LATER, error.public)
    return Closing(POLICY_VIOLATION, error.public)
