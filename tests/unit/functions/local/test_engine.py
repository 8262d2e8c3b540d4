"""An instance within the engine, as it starts."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry.functions import SystemError  # noqa: A004 - see functions.errors
from skerry.functions.local.engine import BINARY, EngineInstance
from skerry.kit.deadlines import within


class Unreachable:
    """An engine that goes away as it is asked for a connection, or says nothing on it."""

    def __init__(self, *, goes_away: bool) -> None:
        self.connected = asyncio.Event()
        self._goes_away = goes_away
        self.theirs: socket.socket | None = None

    def register(self, name: str, binary: Path) -> None:
        pass

    def forget(self, name: str) -> None:
        pass

    async def connect(self, protocol: Callable[[], asyncio.Protocol], begin: bytes, queue: int) -> None:  # noqa: ARG002
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        await asyncio.get_running_loop().create_connection(protocol, sock=ours)
        self.connected.set()
        if self._goes_away:
            raise ConnectionResetError


async def is_closed(engine: Unreachable) -> bool:
    """Tell whether the engine finds its connection closed."""
    assert engine.theirs is not None
    with engine.theirs as theirs, within(60.0):
        return await asyncio.get_running_loop().sock_recv(theirs, 1) == b""


async def test_a_connection_to_an_engine_that_goes_away_is_closed(tmp_path: Path) -> None:
    (tmp_path / BINARY).touch()
    engine = Unreachable(goes_away=True)
    with pytest.raises(SystemError, match="can't be reached"):
        await EngineInstance.start(engine, tmp_path)
    assert await is_closed(engine)


async def test_a_start_that_is_cancelled_and_cancelled_again_closes_its_connection(tmp_path: Path) -> None:
    (tmp_path / BINARY).touch()
    engine = Unreachable(goes_away=False)
    starting = asyncio.ensure_future(EngineInstance.start(engine, tmp_path))
    await engine.connected.wait()
    for _ in range(2):
        starting.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([starting])
    assert starting.cancelled()
    assert await is_closed(engine)
