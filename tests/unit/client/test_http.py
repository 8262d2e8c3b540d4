"""What the transport over the wire makes of servers that are none of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import Forbidden
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.testing.scripted_server import endless, scripted_server

NAMED = Target(CONFIG_MAP, "default", "a")
ALL = Target(CONFIG_MAP, "default")


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A transport to a server that refuses everything, and never ends with that."""
    paths = [target.kind.path(target.namespace, target.name) for target in (NAMED, ALL)]
    async with (
        scripted_server({path: [endless(403)] for path in paths}) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http,
    ):
        yield HttpTransport(http)


async def watched(transport: HttpTransport) -> None:
    async with transport.watch(ALL, resource_version="1"):
        """It does not begin."""


async def read_lines(transport: HttpTransport) -> None:
    async with transport.lines(NAMED, {}):
        """It does not begin."""


@pytest.mark.parametrize(
    "ask", [lambda transport: transport.get(NAMED), watched, read_lines], ids=["get", "watch", "lines"]
)
async def test_of_a_refusal_without_an_end_the_beginning_is_told(
    transport: HttpTransport, ask: Callable[[HttpTransport], Awaitable[object]]
) -> None:
    with pytest.raises(Forbidden) as refused:
        await ask(transport)
    assert len(refused.value.public) <= 500
