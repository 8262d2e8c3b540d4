"""The connections of simulated agents: HTTP kept alive, and WebSocket links. By hand, since 10,000 share a core."""

import asyncio
import itertools
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson

ANSWER_BYTES_MAX = 1 << 20
_TEXT, _PING, _PONG = 1, 9, 10
#: A client masks its frames; with this mask they stay as they are.
_MASK = b"\0\0\0\0"


@dataclass
class Line:
    """A connection over HTTP that is kept alive."""

    url: str
    trust: ssl.SSLContext
    head: str = ""
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        at = urlsplit(self.url)
        self.reader, self.writer = await asyncio.open_connection(
            at.hostname, at.port, ssl=self.trust, limit=ANSWER_BYTES_MAX
        )
        self.head = f"Host: {at.netloc}\r\nContent-Type: application/json\r\n{self.head}"

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a body; return status and content of the answer."""
        assert self.reader is not None
        assert self.writer is not None
        head = f"POST {path} HTTP/1.1\r\n{self.head}Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(answer[9:12]), await self.reader.readexactly(length)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()


@dataclass
class Link(Line):
    """A WebSocket link: reports are answered, and changes come by themselves.

    Attributes:
        told: what came last, as an answer or by itself.
        came: that something did.
    """

    told: bytes = b""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[str, asyncio.Future[bytes]] = field(default_factory=dict)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    reading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await super().connect()
        assert self.reader is not None
        assert self.writer is not None
        ask = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        self.writer.write(f"GET /v1/sync HTTP/1.1\r\n{self.head}{ask}AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
        answer = await self.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        self.reading = asyncio.get_running_loop().create_task(self._read())
        self.reading.add_done_callback(self._fail)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:  # noqa: ARG002 - as over HTTP
        """Send a report; return the status that HTTP would have, and the frame that is the answer."""
        self._check()
        number = str(next(self.numbers))
        self.waiting[number] = answered = asyncio.get_running_loop().create_future()
        meta = b'{"sync":"true","x-baetyl-request-id":"%b"}' % number.encode()
        self._send(_TEXT, b'{"kind":"report","meta":%b,"content":%b}' % (meta, body))
        content = await answered
        if not content.startswith(b'{"kind":"error"'):
            return 200, content
        return 429 if b"too many requests" in content else 400, content

    async def until_told(self, text: bytes) -> None:
        """Wait until something came last that has a text in it, without asking."""
        while text not in self.told:
            self._check()
            self.came.clear()
            await self.came.wait()

    def _check(self) -> None:
        """Raise ConnectionError where nothing comes any more."""
        assert self.reading is not None
        if self.reading.done():
            raise ConnectionError(f"the link was closed: {self.reading}")

    async def _read(self) -> None:
        while True:
            opcode, content = await self._frame()
            if opcode == _PING:
                self._send(_PONG, content)
            elif opcode == _TEXT:
                frame = orjson.loads(content)
                self.told = content
                self.came.set()
                answered = self.waiting.pop(frame["meta"].get("x-baetyl-request-id", ""), None)
                if answered is not None and not answered.done():  # whoever asked may have stopped
                    answered.set_result(content)
            else:
                raise RuntimeError(f"the link was closed: {content!r}")

    def _fail(self, reading: "asyncio.Task[None]") -> None:
        """Have nobody wait for answers of a link that is gone."""
        error = None if reading.cancelled() else reading.exception()
        self.came.set()
        for answered in self.waiting.values():
            if not answered.done():
                answered.set_exception(error or ConnectionError("the link was closed"))

    async def _frame(self) -> tuple[int, bytes]:
        assert self.reader is not None
        first, length = await self.reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2))
        elif length == 127:
            length = int.from_bytes(await self.reader.readexactly(8))
        return first & 15, await self.reader.readexactly(length)

    def _send(self, opcode: int, content: bytes) -> None:
        assert self.writer is not None
        length = len(content)
        size = bytes([128 | length]) if length < 126 else bytes([128 | 126]) + length.to_bytes(2)
        self.writer.write(bytes([128 | opcode]) + size + _MASK + content)

    def close(self) -> None:
        if self.reading is not None:
            self.reading.cancel()
        super().close()
