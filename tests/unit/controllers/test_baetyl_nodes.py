"""Whether nodes are ready: told without anybody asking."""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from skerry.api.baetyl_v1alpha1 import Node, NodeCore, NodeReport, NodeSpec, ready_seconds
from skerry.api.core_v1 import Event
from skerry.api.model import ObjectMeta, OwnerReference, condition_of
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.baetyl_nodes import CONFLICT_SECONDS, NodeReadinessController
from skerry.kit.clock import SystemClock, rfc3339
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.informed import shown, until

#: The shortest that may be set.
CORE = NodeCore(frequency=1)
#: How long ago a report came whose node falls silent a second from now.
LATE_SECONDS = ready_seconds(CORE) - 1


@dataclass(frozen=True)
class Fleet:
    """A control plane whose nodes are looked after."""

    client: Client
    informers: Informers

    async def shows(self, holds: Callable[[Node], bool]) -> Node:
        return await shown(self.informers.of(Node), "n1", holds)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with memory_control_plane() as client:
        informers = Informers(client)
        informers.of(Event)
        controller = NodeReadinessController(client, informers, SystemClock())
        async with controller.running(), informers.running():
            yield Fleet(client, informers)


@pytest.fixture
def client(fleet: Fleet) -> Client:
    return fleet.client


async def node(client: Client) -> Node:
    meta = ObjectMeta(name="n1", namespace="default")
    return await client.create(Node(metadata=meta, spec=NodeSpec(core=CORE)))


async def report(client: Client, of: Node, seconds_ago: float, conflict: str | None = None) -> NodeReport:
    owner = OwnerReference(api_version=of.api_version, kind=of.kind, name=of.name, uid=of.uid)
    time = rfc3339(SystemClock().now() - dt.timedelta(seconds=seconds_ago))
    meta = ObjectMeta(name=of.name, namespace="default", owner_references=[owner])
    return await client.create(NodeReport(metadata=meta, time=time, conflict_time=conflict))


def tells(reason: str, kind: str = "Ready") -> Callable[[Node], bool]:
    def holds(node: Node) -> bool:
        found = condition_of(node.status.conditions, kind)
        return found is not None and found.reason == reason

    return holds


def count(state: str) -> float:
    return REGISTRY.get_sample_value("skerry_baetyl_nodes", {"state": state}) or 0.0


async def test_a_node_that_never_reported_is_not_known_to_be_ready(fleet: Fleet, client: Client):
    await node(client)
    await fleet.shows(tells("NeverReported"))


async def test_a_node_that_reports_is_ready_and_counted(fleet: Fleet, client: Client):
    before = count("ready")
    await report(client, await node(client), 0)
    await fleet.shows(tells("Reporting"))
    assert count("ready") == before + 1


async def test_a_node_that_falls_silent_is_not_ready_without_anybody_asking(fleet: Fleet, client: Client):
    created = await node(client)
    await report(client, created, LATE_SECONDS)
    found = await fleet.shows(tells("Silent"))
    told = condition_of(found.status.conditions, "Ready")
    assert told is not None
    assert told.status == "False"
    await until(fleet.informers.of(Event), lambda events: ("Silent", "Warning") in {(e.reason, e.type) for e in events})


async def test_a_silent_node_that_reports_again_is_ready_again(fleet: Fleet, client: Client):
    created = await node(client)
    stored = await report(client, created, 1000)
    await fleet.shows(tells("Silent"))

    def now(found: NodeReport) -> None:
        found.time = rfc3339(SystemClock().now())

    await client.change(stored, now)
    await fleet.shows(tells("Reporting"))


async def test_the_report_of_a_node_that_was_deleted_is_not_that_of_its_successor(fleet: Fleet, client: Client):
    first = await node(client)
    await report(client, first, 0)
    await fleet.shows(tells("Reporting"))
    await client.delete(first)
    await node(client)
    await fleet.shows(tells("NeverReported"))


async def test_two_agents_of_one_node_are_told_of(fleet: Fleet, client: Client):
    created = await node(client)
    await report(client, created, 0, conflict=rfc3339(SystemClock().now()))
    await fleet.shows(tells("TwoAgents", "IdentityConflict"))


async def test_a_conflict_that_is_over_is_told_to_be_over(fleet: Fleet, client: Client):
    stored = await report(client, await node(client), 0, conflict=rfc3339(SystemClock().now()))
    await fleet.shows(tells("TwoAgents", "IdentityConflict"))
    over = SystemClock().now() - dt.timedelta(seconds=CONFLICT_SECONDS)
    await client.change(stored, lambda found: setattr(found, "conflict_time", rfc3339(over)))
    await fleet.shows(tells("OneAgent", "IdentityConflict"))
