"""Both transports over one control plane: in process, and over TLS."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.cli.connection import connected, read_access
from skerry.client.http import HttpTransport
from skerry.client.transport import Transport
from skerry.server.local import LocalTransport
from skerry.testing.api_server import run_api_server


@pytest.fixture(params=["local", "http"])
async def transport(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Transport]:
    async with run_api_server(tmp_path) as api, connected(read_access(api.kubeconfig)) as http:
        yield LocalTransport(api.verbs, manager="test") if request.param == "local" else HttpTransport(http)
