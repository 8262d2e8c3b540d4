"""The OpenAPI document of fleets against our server: schemathesis sends what it allows, and what it does not.

No answer is a 500, and every answer is one that the document tells of: its code, its content type, its schema.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from anyio.from_thread import BlockingPortal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from skerry.main.baetyl import baetyl_door
from skerry.server.baetyl.fleet import Fleet
from skerry.server.baetyl.openapi import OPENAPI_PATH
from skerry.server.baetyl.products import Products
from skerry.server.baetyl.registrar import Registrar
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server

pytestmark = [pytest.mark.system, pytest.mark.timeout(0)]

CHECKS: Any = [status_code_conformance, content_type_conformance, response_schema_conformance]
DEFAULT: Any = settings.default
#: Of one operation; `make fuzz` raises the default that it is a part of.
EXAMPLES = max(1, DEFAULT.max_examples // 50)
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)
SERVICE = {"name": "web", "image": "nginx"}
PARTS = ("fleet", "nodes", "apps", "configs", "secrets", "registries", "certificates", "register")
#: Objects named `thing`, so that not every answer is that there is none.
THINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("nodes", {"labels": {"site": "lyon"}}),
    ("configs", {"data": [{"key": "a", "value": {"type": "kv", "value": "1"}}]}),
    ("apps", {"selector": "site", "services": [SERVICE], "volumes": [{"name": "v", "config": {"name": "thing"}}]}),
    ("register", {}),
)


@asynccontextmanager
async def run_fleet(directory: Path) -> AsyncIterator[ApiServer]:
    fleet = Fleet()
    doors = (lambda verbs, access: baetyl_door(verbs, access, fleet, (Products(Registrar(verbs)),)),)
    async with (
        run_api_server(directory, ApiServerParts(doors=doors, policy=fleet)) as running,
        fleet.running(running.verbs),
    ):
        yield running


@pytest.fixture
def fleet_server(tmp_path: Path, portal: BlockingPortal) -> Iterator[ApiServer]:
    with portal.wrap_async_context_manager(run_fleet(tmp_path / "server")) as running:
        yield running


@pytest.fixture
def session(fleet_server: ApiServer) -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.verify = str(fleet_server.authority)
        opened.trust_env = False
        opened.headers["authorization"] = f"Bearer {fleet_server.token}"
        yield opened


def test_no_answer_of_a_fleet_is_outside_of_the_document(fleet_server: ApiServer, session: requests.Session) -> None:
    url = fleet_server.at.url
    for part, body in THINGS:
        assert session.post(f"{url}/v1/{part}", json={"name": "thing", **body}).status_code == 200
    document = session.get(url + OPENAPI_PATH).json()
    served = {
        f"/v1/{part}" for part in ("nodes", "apps", "configs", "secrets", "registries", "certificates", "register")
    }
    document["paths"] = {
        path: told for path, told in document["paths"].items() if "/".join(path.split("/")[:3]) in served
    }
    results: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    for result in results:
        operation = result.ok()  # raises what is wrong with the document itself
        named = {"name": "thing"} if "{name}" in operation.path else None
        cases = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=named),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )

        @BOUNDED
        @given(case=cases)
        def holds(case: Any) -> None:
            answer = case.call(base_url=url, session=session, verify=session.verify)
            assert answer.status_code != 500, answer.text
            case.validate_response(answer, checks=CHECKS)

        holds()
