"""Commands to nodes whose link another replica has: two replicas on one log, and a node with a link to the first."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.api.baetyl_node_commands import NodeCommand
from skerry.api.errors import ServiceUnavailable
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.baetyl import relay as relay_module
from skerry.server.baetyl.commands import Command
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.links import Links
from skerry.server.baetyl.relay import Relay
from skerry.testing.member_node import until
from skerry.testing.node_links import NodeLink, ServedFleet, served_fleet

PLACE = ("default", "sn001")
LOGS = Command("logs", {"namespace": "baetyl-edge", "name": "pod-1"}, {"Follow": True}, follows=True)
REPORT: dict[str, Any] = {"node": {"host1": {"hostname": "host1"}}, "apps": [], "sysapps": []}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a replica that is slow be one that is there."""
    monkeypatch.setattr(relay_module, "TAKEN_SECONDS_MAX", 60.0)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedFleet]:
    async with served_fleet(tmp_path) as running:
        yield running


def replica(served: ServedFleet, links: Links) -> Relay:
    return Relay(served.doors.verbs, links, SystemClock(), RandomIds(), is_shared=True)


@pytest.fixture
async def other(served: ServedFleet) -> AsyncIterator[Relay]:
    """The replica that has no link; the one that has runs beside it."""
    parts = served.doors.parts
    other = replica(served, Links(parts.sync))
    async with replica(served, parts.links).running(), other.running():
        yield other


@pytest.fixture
async def link(served: ServedFleet) -> AsyncIterator[NodeLink]:
    async with served.link() as opened:
        await opened.ask("report", REPORT)
        yield opened


async def says(link: NodeLink, token: str, text: str) -> None:
    await link.send("data", base64.b64encode(text.encode()).decode(), success="true", msg="ok", token=token)


async def ends(link: NodeLink, token: str, reason: str = "disconnect") -> None:
    await link.send("cmd", success="false", msg=reason, token=token)


async def read(relay: Relay) -> bytes:
    async with relay.run(PLACE, LOGS) as parts:
        return b"".join([part async for part in parts])


async def no_command_is_left(served: ServedFleet) -> bool:
    return not [each async for each in served.doors.client.list(NodeCommand)]


async def test_what_a_node_prints_comes_through_the_log_and_leaves_nothing_there(
    served: ServedFleet, other: Relay, link: NodeLink
) -> None:
    large = "x" * (relay_module.PART_BYTES_MAX + 10)
    async with asyncio.TaskGroup() as group:
        printed = group.create_task(read(other))
        meta = (await link.receive())["meta"]
        assert (meta["cmd"], meta["name"]) == ("logs", "pod-1")
        for text in ("one\n", large, "two\n"):
            await says(link, meta["token"], text)
        await ends(link, meta["token"])
    assert printed.result() == f"one\n{large}two\n".encode()
    assert await no_command_is_left(served)


async def next_of(parts: AsyncIterator[bytes]) -> bytes:
    return await anext(parts)


async def test_a_node_that_is_silent_for_a_while_is_still_followed(
    other: Relay, link: NodeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "SILENCE_SECONDS_MAX", 0.01)
    async with other.run(PLACE, LOGS) as parts:
        token = (await link.receive())["meta"]["token"]
        async with asyncio.TaskGroup() as group:
            first = group.create_task(next_of(parts))
            await until(lambda: any(each.status.part > 3 for each in other._known.values()))
            await says(link, token, "one\n")
        assert first.result() == b"one\n"
    assert (await link.receive())["meta"]["cmd"] == "disconnect"


async def test_what_a_node_refuses_is_refused(served: ServedFleet, other: Relay, link: NodeLink) -> None:
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(failure(other))
        await ends(link, (await link.receive())["meta"]["token"], "no such pod")
    assert "no such pod" in refused.result()
    assert await no_command_is_left(served)


async def failure(relay: Relay) -> str:
    with pytest.raises(BaetylError) as raised:
        await read(relay)
    return f"{raised.value.word}: {raised.value.public}"


async def test_a_node_that_no_replica_has_a_link_of_takes_no_commands(
    served: ServedFleet, other: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "TAKEN_SECONDS_MAX", 0.1)
    assert (await failure(other)).startswith("ErrNodeNotLinked")
    assert await no_command_is_left(served)


async def test_what_a_crash_left_is_removed(served: ServedFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = served.doors.parts
    gone = replica(served, Links(parts.sync))
    await gone._asked(PLACE, LOGS)
    assert not await no_command_is_left(served)
    monkeypatch.setattr(relay_module, "LEFT", -relay_module.LEFT)
    async with replica(served, parts.links).running(), asyncio.timeout(60):
        while not await no_command_is_left(served):  # noqa: ASYNC110 - the log has no event for it
            await asyncio.sleep(0.01)


class Failing:
    """The verbs of a replica, one of which fails."""

    def __init__(self, served: ServedFleet, name: str, failure: Exception) -> None:
        self._verbs = served.doors.verbs
        self._name = name
        self._failure = failure
        self.failed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._name else getattr(self._verbs, name)

    async def _fail(self, *_: object) -> None:
        self.failed.set()
        raise self._failure


@pytest.mark.parametrize(
    ("verb", "failure"), [("record", KeyError("a defect")), ("delete", ServiceUnavailable("away"))]
)
@pytest.mark.usefixtures("link")
async def test_a_command_that_fails_ends_no_replica(
    served: ServedFleet, verb: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs = Failing(served, verb, failure)
    monkeypatch.setattr(relay_module, "TURN_SECONDS_MAX", 0.1)
    serving = Relay(verbs, served.doors.parts.links, SystemClock(), RandomIds(), is_shared=True)  # type: ignore[arg-type]  # as much as is asked for
    other = replica(served, Links(served.doors.parts.sync))
    async with serving.running(), other.running():
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(other._asked(PLACE, LOGS))
            await verbs.failed.wait()
        await until(lambda: not serving._serving)
        await other._remove(asking.result())
    assert await no_command_is_left(served)
