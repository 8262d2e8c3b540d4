"""The application in process, without a network."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from skerry.kit.clock import SystemClock
from skerry.server.app import App, Guards
from skerry.server.auth import ADMINISTRATORS, StaticTokens, TokenRecord, User, digest_of
from skerry.server.authorization.authorization import Authorization
from skerry.server.health import Health
from skerry.server.kube.door import KubeDoor, KubeSettings
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.log_lines import LogLines

ADMIN_TOKEN, USER_TOKEN = "admin-token", "user-token"


class Check:
    """A readiness check that says what it is told to."""

    name = "database"

    def __init__(self) -> None:
        self.missing = ""

    async def ready(self) -> str:
        if self.missing == "raise":
            raise RuntimeError("broken")
        return self.missing


@pytest.fixture
def check() -> Check:
    return Check()


@pytest.fixture
def authorization() -> Authorization:
    return Authorization()


@pytest.fixture
async def verbs(authorization: Authorization) -> AsyncIterator[Verbs]:
    async with open_verbs(policy=authorization) as (opened, _), authorization.running(opened):
        yield opened


@pytest.fixture
def app(verbs: Verbs, authorization: Authorization, check: Check) -> App:
    tokens = StaticTokens(
        [
            TokenRecord(digest_of(ADMIN_TOKEN), User("admin", groups=(ADMINISTRATORS,))),
            TokenRecord(digest_of(USER_TOKEN), User("alice", uid="7", extra={"from": ("here",)})),
        ]
    )
    clock = SystemClock()
    door = KubeDoor(verbs, KubeSettings(authorization, clock, LogLines()))
    return App((door,), Guards((tokens,), authorization), Health([check]), clock)


@pytest.fixture
async def http(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator's client."""
    transport: Any = httpx.ASGITransport(app=app)
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="https://skerry", headers=headers) as client:
        yield client
