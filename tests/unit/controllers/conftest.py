from collections.abc import AsyncIterator

import pytest

from skerry.client.client import Client
from skerry.testing.control_plane import memory_control_plane


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with memory_control_plane() as opened:
        yield opened
