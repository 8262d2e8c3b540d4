"""The WebSocket link to the control plane: reports and their answers, and what comes without having been asked for.

Owns one connection, and that there is one again after it was lost: addresses in order, with jittered backoff, which
begins with as long as the control plane said over its link (nodes that it lost together are not to come back together),
and ends early where a report got through over HTTP after a while of silence. A control plane that does not offer it is
asked again rarely; meanwhile, and whenever it is not open, reports go over HTTP (`link`). Resources are fetched over
HTTP in any case: they may be large, and nothing else is to wait behind them.
"""

import asyncio
import random
import ssl
import uuid
from collections.abc import Callable, Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from skerry.agent.member.errors import LinkError
from skerry.agent.member.link import CONNECT_SECONDS_MAX, REQUEST_SECONDS_MAX, SYNC_PATH, Told
from skerry.api.model import Document
from skerry.fleet import frames
from skerry.fleet.frames import Frame
from skerry.fleet.reports import ReportRefused
from skerry.kit.backoff import Backoff
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup

log = get_logger(__name__)

#: How long until a lost link is tried again, at the longest: after the first failure, and after many.
RECONNECT_SECONDS_MIN, RECONNECT_SECONDS_MAX = 1.0, 60.0
#: How long until a control plane that offers no link is asked for one again, at the longest.
NOT_OFFERED_SECONDS_MAX = 600.0
#: Of one frame: the desire of a node with ten thousand applications.
FRAME_BYTES_MAX = 1024 * 1024
#: Frames that wait to be looked at; the others wait in the network.
FRAMES_MAX = 16
PING_SECONDS, PONG_SECONDS, CLOSE_SECONDS_MAX = 20.0, 20.0, 5.0
#: The code with which a control plane ends a link that another one takes the place of: it may be of a second agent.
REPLACED = 4409
#: Statuses of a server that does not know the path, or no WebSockets on it.
_NOT_OFFERED = frozenset({400, 404, 405, 426, 501})


class SocketLink:
    """A link that is open whenever it can be; `run` is its life.

    Args:
        addresses: of the control plane, tried in order.
        trust: whom this node trusts, and how it proves who it is.
        opened: called when a connection is open.
        hears: called with what comes without having been asked for: what is wanted, and commands.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        trust: ssl.SSLContext,
        opened: Callable[[], None],
        hears: Callable[[Frame], None],
    ) -> None:
        self._addresses = list(addresses)
        self._trust = trust
        self._opened = opened
        self._hears = hears
        self._connection: ClientConnection | None = None
        self._waiting: dict[str, asyncio.Future[Frame]] = {}
        self._again = Wakeup()
        self._backoff = Backoff(
            first_seconds=RECONNECT_SECONDS_MIN, max_seconds=RECONNECT_SECONDS_MAX, jitter_share=1.0
        )
        #: Whether the last try found nobody; not where somebody refused it, or took the link's place.
        self._out_of_reach = False

    @property
    def is_open(self) -> bool:
        """Whether reports can go over it."""
        return self._connection is not None

    async def report(self, report: Document) -> Told:
        """Tell what this node has and does; return what it is told. Raises LinkError."""
        answer = await self._ask(frames.REPORT, report)
        if answer.kind == frames.ERROR:
            raise LinkError(f"the control plane answered: {answer.content}")
        return told_by(answer)

    async def send(self, frame: Frame) -> None:
        """Send a frame, once there is room for it; raises LinkError."""
        connection = self._connection
        if connection is None:
            raise LinkError("the link to the control plane is not open")
        try:
            await connection.send(frames.written(frame).decode())
        except ConnectionClosed as error:
            raise LinkError("the link to the control plane is lost") from error

    async def renew(self) -> None:
        """Have another connection in place of this one, for what this node shows from now on."""
        self._again.set()
        if self._connection is not None:
            await self._connection.close()

    def look_again(self) -> None:
        """Try at once where nobody was there: after a while of silence, the control plane answers."""
        if self._out_of_reach:
            self._backoff.reset()
            self._again.set()

    async def run(self) -> None:
        """Keep the link open; never returns."""
        while True:
            try:
                async with self._connect() as connection:
                    self._out_of_reach = False
                    await self._again.wait(0)  # it asked for what is here now
                    code = await self._listen(connection)
                delay = _jittered(RECONNECT_SECONDS_MAX) if code == REPLACED else self._backoff.next_seconds()
            except InvalidStatus as error:
                self._out_of_reach, delay = False, self._refused(error.response.status_code)
            except (OSError, TimeoutError, WebSocketException) as error:
                self._out_of_reach, delay = True, self._backoff.next_seconds()
                log.info("no link", address=self._addresses[0], reason=str(error) or type(error).__name__)
            self._addresses.append(self._addresses.pop(0))
            await self._again.wait(delay)

    def _refused(self, status: int) -> float:
        """Return how long to wait after a refused handshake."""
        log.info("the control plane gives no link", address=self._addresses[0], status=status)
        if status in _NOT_OFFERED:
            return _jittered(NOT_OFFERED_SECONDS_MAX)
        return self._backoff.next_seconds()

    def _connect(self) -> connect:
        return connect(
            f"wss://{self._addresses[0].partition('://')[2].rstrip('/')}{SYNC_PATH}",
            ssl=self._trust,
            proxy=None,
            compression=None,
            open_timeout=CONNECT_SECONDS_MAX * 2,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            close_timeout=CLOSE_SECONDS_MAX,
            max_size=FRAME_BYTES_MAX,
            max_queue=FRAMES_MAX,
        )

    async def _listen(self, connection: ClientConnection) -> int:
        """Take frames until the connection ends; return with which code."""
        self._connection = connection
        log.info("linked", address=self._addresses[0])
        self._opened()
        try:
            async for message in connection:
                self._take(message if isinstance(message, bytes) else message.encode())
        except ConnectionClosed as error:
            reason = error.rcvd.reason if error.rcvd else "it was lost"
            log.info("the link ended", address=self._addresses[0], reason=reason)
        finally:
            self._connection = None
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(LinkError("the link to the control plane was lost"))
        return connection.close_code or 0

    def _take(self, message: bytes) -> None:
        try:
            frame = frames.read_frame(message)
        except ReportRefused as error:
            log.warning("a frame of the control plane can't be read", reason=error.public)
            return
        waiting = self._waiting.get(frame.meta.get(frames.REQUEST_ID, ""))
        if frame.kind == frames.REPORT:
            self._spread(frame.meta.get(frames.RELINK_SECONDS, ""))
        if waiting is None:
            self._hears(frame)
            return
        if frame.kind != frames.ERROR:
            self._backoff.reset()
        if not waiting.done():
            waiting.set_result(frame)

    def _spread(self, told_seconds: str) -> None:
        """Take over how long this node is to come back after a loss.

        A much smaller number counts by halves: a control plane that has just begun knows few of its nodes yet.
        """
        seconds = float(told_seconds) if told_seconds.isdecimal() else 0.0
        least = max(RECONNECT_SECONDS_MIN, self._backoff.first_seconds / 2)
        self._backoff.first_seconds = min(max(seconds, least), RECONNECT_SECONDS_MAX)

    async def _ask(self, kind: str, content: Document) -> Frame:
        """Send a frame, and return its answer; raises LinkError."""
        question = uuid.uuid4().hex
        waiting: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[question] = waiting
        try:
            with within(REQUEST_SECONDS_MAX):
                await self.send(Frame(kind, {frames.REQUEST_ID: question, frames.WAITS: "true"}, content))
                return await waiting
        except TimeoutError as error:
            raise LinkError(f"the control plane did not answer within {REQUEST_SECONDS_MAX:.0f} s") from error
        finally:
            del self._waiting[question]


def _jittered(seconds: float) -> float:
    return random.uniform(seconds / 2, seconds)  # noqa: S311 - jitter is no secret


def told_by(frame: Frame) -> Told:
    """Return what a frame tells; raises LinkError where that is no object."""
    if not isinstance(frame.content, dict | None):
        raise LinkError("what the control plane wants is no JSON object")
    return Told(frame.content or {}, frame.meta.get(frames.REPORT_SECONDS, ""))
