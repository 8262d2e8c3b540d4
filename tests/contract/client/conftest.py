"""Both transports over one control plane: in process, and over TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from skerry.api.registry import KINDS
from skerry.client.http import HttpTransport
from skerry.client.transport import Transport
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.access import AdministratorsOnly
from skerry.server.app import App, Guards
from skerry.server.credentials import open_administrator
from skerry.server.health import Health
from skerry.server.kube.door import KubeDoor, KubeSettings
from skerry.server.local import LocalTransport
from skerry.server.serve import ServeSettings, serve
from skerry.server.tls import LOCAL_NAMES, ServerIdentity, open_authority
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.memory import open_memory


@asynccontextmanager
async def over_http(verbs: Verbs, directory: Path) -> AsyncIterator[Transport]:
    clock = SystemClock()
    authority = open_authority(directory, clock)
    identity = ServerIdentity(directory, authority, LOCAL_NAMES, clock)
    administrator = open_administrator(directory / "tokens.json", directory / "kubeconfig")
    access = AdministratorsOnly()
    door = KubeDoor(verbs, KubeSettings(access, clock))
    app = App([door], Guards((administrator.tokens,), access), Health([]), clock)
    async with serve(app, ServeSettings(port=0), identity) as at:
        trust = ssl.create_default_context(cadata=authority.pem.decode())
        headers = {"Authorization": f"Bearer {administrator.token}"}
        async with httpx.AsyncClient(base_url=at.url, verify=trust, headers=headers, trust_env=False) as http:
            yield HttpTransport(http)


@pytest.fixture(params=["local", "http"])
async def transport(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Transport]:
    async with open_memory() as driver, open_log(driver) as log:
        verbs = Verbs(log, KINDS, SystemClock(), RandomIds())
        await verbs.bootstrap()
        if request.param == "local":
            yield LocalTransport(verbs, manager="test")
        else:
            async with over_http(verbs, tmp_path) as opened:
                yield opened
