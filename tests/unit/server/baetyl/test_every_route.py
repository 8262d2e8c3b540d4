"""What holds for every route of the fleet's API: who may not, and bodies that can't be read.

The routes are those of the OpenAPI document, so that a new one is held to the same.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.server.baetyl.door import BODY_BYTES_MAX
from skerry.testing.fleet import FleetDoors, open_fleet_doors

#: Of devices and nodes, which show other credentials: tests of joining and sync have them.
OF_DEVICES = ("/v1/active", "/v1/init", "/v1/slice", "/v1/sync")
#: Takes any bytes.
UPLOAD = "/v1/objects"
NESTED = b'{"name":' * 10_000 + b"1" + b"}" * 10_000
UNREADABLE = (b"", b"{", b"[]", b"null", b'"text"', b"\xff", NESTED)
#: What a route asks for in its query, or it is refused before its body is read.
NEEDED_QUERY = {"/v1/nodes": "?batch"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        yield opened


async def routes(door: FleetDoors) -> list[tuple[str, str, Any]]:
    """Return method, path and description of every route of people."""
    paths = (await door.ask("GET", "/v1/fleet/openapi.json"))["paths"]

    def each() -> Iterator[tuple[str, str, Any]]:
        for path, item in paths.items():
            for method in item.keys() & {"get", "put", "post", "delete"}:
                if not path.startswith(OF_DEVICES):
                    yield method.upper(), path, item[method]

    return sorted(each(), key=lambda route: route[:2])


def concrete(path: str) -> str:
    return path.replace("{name}", "absent").replace("{record}", "absent")


async def test_who_may_not_is_refused_before_anything_is_looked_at(door: FleetDoors) -> None:
    asked = await routes(door)
    assert len(asked) > 60
    for method, path, _ in asked:
        for credential, status in (("nobody", 403), ("stranger", 401)):
            headers = {"authorization": f"Bearer {credential}", "x-bce-request-id": "mine"}
            answer = await door.device.request(method, concrete(path), content=b"{", headers=headers)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (status, "ErrRequestAccessDenied"), (method, path, answer.text)
            assert told["request-id"] == answer.headers["x-bce-request-id"] == "mine"


async def test_bodies_that_can_not_be_read_are_refused_and_make_nothing(door: FleetDoors) -> None:
    for method, path, described in await routes(door):
        if "requestBody" not in described or path == UPLOAD:
            continue
        where = concrete(path) + (NEEDED_QUERY.get(path, "") if method == "PUT" else "")
        for body in UNREADABLE:
            answer = await door.http.request(method, where, content=body)
            told = (answer.status_code, answer.json()["code"])
            assert told in {(400, "ErrRequestParamInvalid"), (404, "ErrResourceNotFound")}, (path, body[:20], told)
        answer = await door.http.request(method, where, content=b" " * (BODY_BYTES_MAX + 1))
        assert answer.json()["code"] == "ErrDataTooLarge", (method, path, answer.text)
    for collection in ("nodes", "apps", "configs", "secrets", "registries", "certificates", "register"):
        assert (await door.ask("GET", f"/v1/{collection}"))["total"] == 0
