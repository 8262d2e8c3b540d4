"""The table of the fleet's routes: what each answers, and how it refuses what the facts and the document say it does.

Whoever adds a route adds its rows; `SHOWN_ELSEWHERE` names the tests of what takes more than a request.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_configurations import Configuration
from skerry.api.baetyl_registration import Callback, Product, Record
from skerry.api.baetyl_rollouts import Rollout
from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.core_v1 import Namespace, Secret
from skerry.api.errors import TooManyRequests
from skerry.api.model import ObjectMeta, from_document
from skerry.server.baetyl.errors import refusal
from skerry.testing.fleet import FleetDoors, open_fleet_doors
from tests.unit.server.baetyl.facts import apps, devices, nodes, sources
from tests.unit.server.baetyl.facts.rows import Row, Step

TABLE = {"nodes": nodes.ROWS, "apps": apps.ROWS, "sources": sources.ROWS, "devices": devices.ROWS}
ROWS = [row for rows in TABLE.values() for row in rows]
MODELS: dict[str, Any] = {"Application": Application, "Callback": Callback, "Rollout": Rollout}
#: Operations whose success takes a link or a Gateway, and the tests that show it.
SHOWN_ELSEWHERE = {
    "GET /v1/sync": ("test_links.py", "test_a_report_is_answered_with_what_is_to_change"),
    "POST /v1/slice": ("test_slices.py", "test_a_node_follows_what_its_gateways_lead_to"),
    "GET /v1/slice/artifacts/{digest}": (
        "test_slices.py",
        "test_a_node_fetches_the_code_of_its_slice_and_no_other",
    ),
    "POST /v1/slice/statuses": (
        "test_slices.py",
        "test_what_a_node_says_of_its_slice_is_kept_and_of_anything_else_is_not",
    ),
    "GET /v1/nodes/{name}/apps/{app}/logs": (
        "test_node_logs.py",
        "test_the_lines_of_an_instance_are_read_as_they_were_asked_for",
    ),
    "GET /v1/nodes/{name}/apps/{app}/describe": ("test_node_logs.py", "test_a_node_describes_an_application"),
    "GET /v1/nodes/{name}/edgefunctions/{function}/logs": (
        "test_node_logs.py",
        "test_the_lines_of_a_function_are_asked_for_as_such",
    ),
    "GET /v1/nodes/{name}/metrics": (
        "test_node_logs.py",
        "test_what_functions_count_on_a_node_is_read_as_prometheus_reads_it",
    ),
}
#: The words of upstream's code that no route of ours answers with; docs/reference/baetyl-api.md says why.
NEVER_ANSWERED = {
    "ErrConfigInUsed",
    "ErrConvertConflict",
    "ErrFunction",
    "ErrJSONLevelExceedsLimit",
    "ErrK8S",
    "ErrLicenseQuota",
    "ErrRegisterDeleteCallback",
    "ErrTemplate",
    "ErrVolumeType",
    "required",
}
#: These take another writer who is quicker, and more requests at once than there may be.
ANSWERED_ELSEWHERE = {
    "ErrResourceConflict": ("test_nodes.py", "test_who_is_overtaken_again_and_again_is_told"),
    "UnknownError": ("test_facts.py", "test_a_refusal_that_has_no_word_is_unknown_and_keeps_its_status"),
}
ANSWERED = {
    "ErrAppNameConflict",
    "ErrAppReferencedByNode",
    "ErrDataTooLarge",
    "ErrDatabase",
    "ErrInvalidToken",
    "ErrNodeNotReady",
    "ErrObjectOperationException",
    "ErrRegisterDeleteRecord",
    "ErrRegisterQuotaNumOut",
    "ErrRegisterRecordActivated",
    "ErrRequestAccessDenied",
    "ErrRequestMethodNotFound",
    "ErrRequestParamInvalid",
    "ErrResourceHasBeenUsed",
    "ErrResourceInvisible",
    "ErrResourceNotFound",
    "ErrThirdServer",
    "ErrVolumeNotFoundWhenMount",
    "nonBaetyl",
}
#: Refusals that come after something was kept: a report, a device that has joined and was not told to others.
AFTER_WRITING = {"ErrNodeNotReady", "ErrThirdServer"}
HERE = Path(__file__).parent
PAGE = Path(__file__).parents[4] / "docs" / "reference" / "baetyl-api.md"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        opened.give_as_program(PAGE)
        yield opened


class Asking:
    """Asks for one row, in a namespace of its own."""

    def __init__(self, door: FleetDoors, namespace: str) -> None:
        self._door = door
        self._kept = {"ns": namespace}

    async def given(self, step: Step) -> None:
        """Do what goes before."""
        if step.method == "CREATE":
            body = step.body | {"metadata": {**step.body["metadata"], "namespace": self._kept["ns"]}}
            await self._door.client.create(from_document(MODELS[step.path], body))
            return
        answer = await self.answer(step)
        assert answer.status_code == 200, f"before: {step.method} {step.path}: {answer.text}"
        for name, place in step.keep.items():
            path, _, pattern = place.partition("~")
            value: Any = answer.json()
            for part in path.split("."):
                value = value[part]
            found = re.search(pattern, value) if pattern else None
            self._kept[name] = found[1] if found else value

    async def answer(self, asked: Row | Step) -> httpx.Response:
        """Send a request as who it is of."""
        body = self._filled(asked.body)
        sent: Any = {"content": body} if isinstance(body, bytes) else {"json": body}
        path, headers = self._filled(asked.path), {}
        if asked.by == "node":
            return await self._door.node(self._kept["certificate"]).http.request(asked.method, path, **sent)
        if asked.by == "device":
            return await self._door.device.request(asked.method, path, **sent)
        headers = {"x-baetyl-namespace": self._kept["ns"]}
        if asked.by == "nobody":
            headers["authorization"] = "Bearer nobody"
        return await self._door.http.request(asked.method, path, headers=headers, **sent)

    def _filled(self, value: Any) -> Any:
        """Put what was kept into texts."""
        if isinstance(value, dict):
            return {name: self._filled(each) for name, each in value.items()}
        if isinstance(value, str):
            return re.sub("<(ns|token)>", lambda found: self._kept[found[1]], value)
        return value


async def kept_in(door: FleetDoors, namespace: str) -> dict[str, Any]:
    """Return all that there is in a namespace, but for which writes it has seen: a place of a quota is given back."""
    return {
        f"{each.kind} {each.name}": each.model_dump(exclude={"metadata": {"resource_version", "managed_fields"}})
        for model in (Node, Application, Configuration, Secret, Product, Record)
        async for each in door.client.list(model, namespace=namespace)
    }


async def wrong_of(door: FleetDoors, row: Row, namespace: str) -> str:
    """Return what is wrong with the answer to a row; "" for nothing."""
    asking = Asking(door, namespace)
    for step in row.given:
        await asking.given(step)
    before = await kept_in(door, namespace)
    answer = await asking.answer(row)
    if answer.status_code != row.status:
        return f"{answer.status_code} {answer.text[:300]}"
    if not row.code:
        told = answer.json() if row.shows else {}
        return "".join(
            f"{name} is {told.get(name)!r}" for name, value in row.shows.items() if value not in (..., told.get(name))
        ) + "".join(f"{name} is missing" for name in row.shows if name not in told)
    told = answer.json()
    if told["code"] != row.code or row.message not in told["message"]:
        return str(told)
    if row.code not in AFTER_WRITING and await kept_in(door, namespace) != before:
        return "something was written"
    return ""


@pytest.mark.parametrize("part", TABLE)
async def test_every_route_answers_and_refuses_as_the_facts_say(door: FleetDoors, part: str) -> None:
    wrong = []
    for number, row in enumerate(TABLE[part]):
        namespace = f"row-{number}"
        await door.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
        if found := await wrong_of(door, row, namespace):
            wrong.append(f"{row.method} {row.path}, {row.fact} ({row.status} {row.code} {row.message}): {found}")
    assert not wrong, "\n".join(wrong)


async def operations(door: FleetDoors) -> dict[str, re.Pattern[str]]:
    """Return every operation of the document, and what matches it."""
    paths = (await door.ask("GET", "/v1/fleet/openapi.json"))["paths"]
    patterns = {path: re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))) for path in paths}
    return {
        f"{method.upper()} {path}": patterns[path]
        for path, item in paths.items()
        for method in item.keys() & {"get", "put", "post", "delete"}
    }


async def test_every_route_has_its_rows(door: FleetDoors) -> None:
    known = await operations(door)
    succeeding: set[str] = set()
    refusing: set[str] = set()
    for row in ROWS:
        path = row.path.partition("?")[0]
        of = {each for each, pattern in known.items() if each.startswith(row.method) and pattern.fullmatch(path)}
        (refusing if row.code else succeeding).update(of)
    missing = known.keys() - succeeding - SHOWN_ELSEWHERE.keys()
    assert not missing, f"no row shows what these answer: {sorted(missing)}"
    assert not known.keys() - refusing, f"no row shows what these refuse: {sorted(known.keys() - refusing)}"
    assert not SHOWN_ELSEWHERE.keys() & succeeding, "a row shows it: it need not be named"


def test_every_word_of_upstream_is_answered_or_said_to_be_none() -> None:
    assert {row.code for row in ROWS if row.code} - {"ErrNodeNotLinked"} == ANSWERED
    page = PAGE.read_text()
    told = {word for line in page.splitlines() if line.startswith("| `") for word in re.findall("`(\\w+)`", line)}
    assert not NEVER_ANSWERED - told, "docs/reference/baetyl-api.md says of each word that is never answered why"
    for file, name in (*SHOWN_ELSEWHERE.values(), *ANSWERED_ELSEWHERE.values()):
        assert f"def {name}(" in (HERE / file).read_text(), f"{name} of {file} is not there"


def test_a_refusal_that_has_no_word_is_unknown_and_keeps_its_status() -> None:
    answer = refusal(TooManyRequests("too many requests at once"), "mine")
    assert (answer.status, orjson.loads(answer.body)["code"]) == (429, "UnknownError")
