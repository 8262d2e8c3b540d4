"""The front door of fleets in process: the real verbs on a memory log, every answer held to the OpenAPI document."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from skerry.client.client import Client
from skerry.kit.clock import SystemClock
from skerry.main.baetyl import baetyl_door
from skerry.server.app import App, Guards
from skerry.server.auth import ADMINISTRATORS, StaticTokens, TokenRecord, User, digest_of
from skerry.server.authorization.authorization import Authorization
from skerry.server.baetyl.fleet import Fleet
from skerry.server.health import Health
from skerry.server.local import LocalTransport
from skerry.server.verbs.admission import Policies
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.described import Described

USERS = (User("root", groups=(ADMINISTRATORS,)), User("nobody"), User("system:serviceaccount:other:robot"))


@dataclass
class Door:
    """A front door.

    Attributes:
        http: asks it as the administrator.
        client: the same objects as kubectl sees them.
    """

    http: httpx.AsyncClient
    client: Client
    fleet: Fleet
    verbs: Verbs

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        """Return the document of an answer, whose status must be as wanted."""
        answer = await self.http.request(method, path, json=body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def refused(
        self, method: str, path: str, body: Any = None, status: int = 400, **more: Any
    ) -> tuple[str, str]:
        """Return word and message of a refusal, whose status must be as wanted."""
        document = await self.ask(method, path, body, status, **more)
        assert set(document) == {"code", "message", "request-id"}
        return document["code"], document["message"]


@asynccontextmanager
async def opened_door() -> AsyncIterator[Door]:
    fleet, access = Fleet(), Authorization()
    policy = Policies((access, fleet))
    async with open_verbs(policy=policy) as (verbs, _), access.running(verbs), fleet.running(verbs):
        known = StaticTokens([TokenRecord(digest_of(user.name), user) for user in USERS])
        app: Any = App((baetyl_door(verbs, access, fleet),), Guards((known,), access), Health([]), SystemClock())
        transport = httpx.ASGITransport(app=app)
        headers = {"authorization": "Bearer root"}
        async with httpx.AsyncClient(transport=transport, base_url="https://door", headers=headers) as http:
            document = (await http.get("/v1/fleet/openapi.json")).json()
            http.event_hooks["response"].append(Described(document).checked)
            yield Door(http, Client(LocalTransport(verbs, manager="test")), fleet, verbs)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """A door to an empty log."""
    async with opened_door() as found:
        yield found
