"""Commands of the control plane: each answered to its end, or until another takes its place."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from skerry.agent.member.remote import Remote
from skerry.fleet import frames
from skerry.fleet.frames import Frame, read_data
from skerry.fleet.log_wishes import LogWish


class Printing:
    """Applications, of which each prints its name, and one goes on until it is ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def printed(self, name: str, _wish: LogWish) -> AsyncGenerator[bytes, None]:
        if name == "defect":
            raise KeyError(name)
        yield name.encode()
        if name == "first":
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()


class Link:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Frame] = asyncio.Queue()


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
async def remote(link: Link) -> AsyncIterator[Remote]:
    made = Remote(Printing(), None, link.sent.put)  # type: ignore[arg-type]  # as much as is asked for
    async with made.running():
        yield made


def logs(name: str) -> Frame:
    return Frame(frames.COMMAND, {frames.TOKEN: "t1", frames.CMD: "logs", "name": name}, {})


async def test_a_command_with_the_token_of_one_that_runs_takes_its_place(remote: Remote, link: Link) -> None:
    remote.hear(logs("first"))
    assert read_data((await link.sent.get()).content) == b"first"
    remote.hear(logs("second"))
    assert read_data((await link.sent.get()).content) == b"second"
    assert (await link.sent.get()).meta[frames.MESSAGE] == frames.DISCONNECT


async def test_a_defect_in_a_command_ends_that_command_alone(remote: Remote, link: Link) -> None:
    remote.hear(logs("defect"))
    assert "the log of the agent tells more" in (await link.sent.get()).meta[frames.MESSAGE]
    remote.hear(logs("second"))
    assert read_data((await link.sent.get()).content) == b"second"
