"""The link of a node to something that is no control plane."""

import ssl
from collections.abc import AsyncIterator

import pytest

from skerry.agent.member.errors import LinkError, RefusedError
from skerry.agent.member.link import ACTIVE_PATH, REPORT_PATH, CloudLink, cloud_link
from skerry.testing.scripted_server import endless, scripted_server


@pytest.fixture
async def link() -> AsyncIterator[CloudLink]:
    """A link to a server that refuses everything, and never ends with that."""
    async with (
        scripted_server({path: [endless(403)] for path in (REPORT_PATH, ACTIVE_PATH)}) as server,
        cloud_link([f"http://127.0.0.1:{server.port}"], ssl.create_default_context()) as opened,
    ):
        yield opened


async def read(link: CloudLink) -> None:
    async with link.opened("GET", ACTIVE_PATH, silence_seconds_max=60.0) as pieces:
        async for _ in pieces:
            """There are none."""


async def test_of_a_refusal_without_an_end_the_beginning_is_told(link: CloudLink) -> None:
    with pytest.raises(LinkError, match="the control plane answered 403"):
        await link.report({})
    with pytest.raises(RefusedError, match="the control plane answered 403") as refused:
        await read(link)
    assert len(refused.value.public) <= 1100
