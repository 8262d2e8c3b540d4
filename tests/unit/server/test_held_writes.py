"""What is written within one turn goes out together, and nothing is held for longer or without bound."""

import asyncio
from typing import Any, cast

from skerry.server.held_writes import HELD_BYTES_MAX, HeldWrites


class RecordingTransport:
    """Notes what it is given, and when it is closed."""

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent.append([data])

    def writelines(self, parts: list[bytes]) -> None:
        assert not self.closed
        self.sent.append(parts)

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 7

    def get_extra_info(self, name: str) -> str:
        return name

    def close(self) -> None:
        self.closed = True

    abort = close


def held() -> tuple[Any, RecordingTransport]:
    transport = RecordingTransport()
    return HeldWrites(cast("asyncio.Transport", transport), asyncio.get_running_loop()), transport


async def test_what_is_written_in_one_turn_is_sent_once_at_its_end() -> None:
    writes, transport = held()
    writes.write(b"head")
    writes.write(b"body")
    assert transport.sent == []
    assert writes.get_write_buffer_size() == 7 + 8
    await asyncio.sleep(0)
    assert transport.sent == [[b"headbody"]]
    writes.write(b"next")
    await asyncio.sleep(0)
    assert transport.sent == [[b"headbody"], [b"next"]]


async def test_more_than_the_limit_is_sent_at_once() -> None:
    writes, transport = held()
    for _ in range(10):
        writes.write(bytes(HELD_BYTES_MAX // 2))
    assert len(transport.sent) == 5
    assert writes.get_write_buffer_size() == 7


async def test_a_close_sends_what_is_held_and_an_abort_does_not() -> None:
    writes, transport = held()
    writes.write(b"last")
    writes.close()
    assert (transport.sent, transport.closed) == ([[b"last"]], True)
    writes, transport = held()
    writes.write(b"lost")
    writes.abort()
    await asyncio.sleep(0)
    assert (transport.sent, transport.closed) == ([], True)


async def test_everything_else_is_the_transports() -> None:
    writes, _ = held()
    assert writes.get_extra_info("peername") == "peername"
