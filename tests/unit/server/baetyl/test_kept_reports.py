"""The newest report of each node: one write, and nothing lost between writers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from skerry.api.baetyl_v1alpha1 import NODE_REPORT, NodeReport
from skerry.api.errors import Conflict
from skerry.api.model import ObjectMeta, from_document
from skerry.server.baetyl.kept_reports import RACES_MAX, KeptReports
from skerry.server.verbs.requests import DeleteOptions, Target
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs

PLACE = ("default", "n1")
CORE = {"name": "baetyl-core-x", "version": "1"}


@pytest.fixture
async def verbs() -> AsyncIterator[Verbs]:
    async with open_verbs() as (opened, _):
        yield opened


def saying(what: str) -> Callable[[NodeReport | None], NodeReport]:
    """Return what makes a report that says something, and how much the one before did."""

    def made(before: NodeReport | None) -> NodeReport:
        metadata = before.metadata.model_copy() if before else ObjectMeta(name="n1", namespace="default")
        said = {"what": what, "before": before.report if before else None, "sysapps": [CORE]}
        return NodeReport(metadata=metadata, time="2026-01-01T00:00:00Z", report=said)

    return made


async def kept(verbs: Verbs) -> NodeReport:
    return from_document(NodeReport, (await verbs.get(Target(NODE_REPORT, *PLACE))).document)


async def test_the_next_report_knows_as_much_of_the_one_before_as_it_needs(verbs: Verbs) -> None:
    reports = KeptReports(verbs)
    await reports.put(PLACE, saying("one"), needs_whole=False)
    await reports.put(PLACE, saying("two"), needs_whole=False)
    assert (await kept(verbs)).report["before"] == {"sysapps": [CORE], "sysappstats": []}
    await reports.put(PLACE, saying("three"), needs_whole=True)
    assert (await kept(verbs)).report["before"]["what"] == "two"


async def test_a_report_that_another_replica_put_between_is_seen(verbs: Verbs) -> None:
    ours, others = KeptReports(verbs), KeptReports(verbs)
    await ours.put(PLACE, saying("one"), needs_whole=False)
    await others.put(PLACE, saying("two"), needs_whole=False)
    await ours.put(PLACE, saying("three"), needs_whole=False)
    report = (await kept(verbs)).report
    assert (report["what"], report["before"]["what"]) == ("three", "two")


async def test_a_node_that_comes_again_after_its_report_was_deleted_is_kept(verbs: Verbs) -> None:
    reports = KeptReports(verbs)
    await reports.put(PLACE, saying("one"), needs_whole=False)
    await verbs.delete(Target(NODE_REPORT, *PLACE), DeleteOptions())
    await reports.put(PLACE, saying("two"), needs_whole=False)
    assert (await kept(verbs)).report["before"] is None


async def test_reports_at_once_follow_each_other(verbs: Verbs) -> None:
    reports = KeptReports(verbs)
    async with asyncio.TaskGroup() as group:
        for number in range(RACES_MAX):
            group.create_task(reports.put(PLACE, saying(str(number)), needs_whole=False))
    assert (await kept(verbs)).metadata.resource_version


async def test_whoever_always_comes_too_late_is_told(verbs: Verbs) -> None:
    reports = KeptReports(verbs)

    def late(_: NodeReport | None) -> NodeReport:
        metadata = ObjectMeta(name="n1", namespace="default", resource_version="1")
        return NodeReport(metadata=metadata, time="2026-01-01T00:00:00Z")

    await reports.put(PLACE, saying("one"), needs_whole=False)
    with pytest.raises(Conflict):
        await reports.put(PLACE, late, needs_whole=False)
