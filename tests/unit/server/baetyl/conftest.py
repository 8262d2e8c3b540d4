"""The front door of fleets in process, every answer held to the OpenAPI document."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.client.client import Client
from skerry.server.verbs.verbs import Verbs
from skerry.testing.fleet import open_fleet_doors


@dataclass
class Door:
    """A front door.

    Attributes:
        http: asks it as the administrator.
        client: the same objects as kubectl sees them.
        verbs: the same, without a wire between.
    """

    http: httpx.AsyncClient
    client: Client
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


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A door to an empty log."""
    async with open_fleet_doors(tmp_path) as doors:
        yield Door(doors.http, doors.client, doors.verbs)
