"""Aggregated roles follow the roles they are made of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from skerry.api.label_selector import LabelSelector
from skerry.api.model import ObjectMeta
from skerry.api.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.aggregation import ClusterRoleAggregator
from skerry.testing.control_plane import STATE_SECONDS_MAX

LABEL = {"example.com/gather": "true"}
Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@asynccontextmanager
async def aggregating(client: Client) -> AsyncIterator[Until]:
    """Run the controller; yields a way to wait for a state, asked at every change."""
    informers, changed = Informers(client), asyncio.Event()
    aggregator = ClusterRoleAggregator(client, informers)
    informers.of(ClusterRole).on_change(lambda _: changed.set())

    async def until(holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(STATE_SECONDS_MAX):
            while True:
                changed.clear()
                if await holds():
                    return
                await changed.wait()

    async with aggregator.running(), informers.running():
        yield until


def gathering(name: str, *resources: str) -> ClusterRole:
    selectors = [LabelSelector(match_labels=LABEL)]
    role = part(name, *resources, labels={})
    role.aggregation_rule = AggregationRule(cluster_role_selectors=selectors)
    return role


def part(name: str, *resources: str, labels: dict[str, str] | None = None) -> ClusterRole:
    rules = [PolicyRule(verbs=["get"], api_groups=[""], resources=[resource]) for resource in resources]
    return ClusterRole(metadata=ObjectMeta(name=name, labels=LABEL if labels is None else labels), rules=rules)


async def test_a_role_is_made_of_what_its_selectors_select_now(client: Client):
    async def resources() -> list[str]:
        rules = (await client.get(ClusterRole, "all")).rules or []
        return [resource for rule in rules for resource in rule.resources or ()]

    async def holds(*wanted: str) -> bool:
        return await resources() == list(wanted)

    await client.create(gathering("all", "leftover"))
    pods = await client.create(part("pods", "pods"))
    async with aggregating(client) as until:
        await until(lambda: holds("pods"))
        await client.create(part("more", "nodes", "pods"))
        await until(lambda: holds("nodes", "pods"))
        await client.change(pods, lambda role: setattr(role, "rules", []))
        await client.create(part("other", "secrets", labels={"x": "y"}))
        await client.delete(await client.get(ClusterRole, "more"))
        await until(holds)


async def test_what_someone_writes_into_an_aggregated_role_is_overwritten(client: Client):
    async def is_restored() -> bool:
        rules = (await client.get(ClusterRole, "all")).rules or []
        return [rule.resources for rule in rules] == [["pods"]]

    await client.create(part("pods", "pods"))
    role = await client.create(gathering("all"))
    async with aggregating(client) as until:
        await until(is_restored)
        own = [PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"])]
        await client.change(role, lambda stored: setattr(stored, "rules", own))
        await until(is_restored)


async def test_a_complete_role_is_not_written_again(client: Client):
    await client.create(part("pods", "pods"))
    await client.create(gathering("all"))
    async with aggregating(client) as until:

        async def is_filled() -> bool:
            return bool((await client.get(ClusterRole, "all")).rules)

        await until(is_filled)
    before = await client.get(ClusterRole, "all")
    aggregator = ClusterRoleAggregator(client, informers := Informers(client))
    async with informers.running():
        await aggregator.reconcile("all")
        await aggregator.reconcile("pods")
        await aggregator.reconcile("nothing")
    assert await client.get(ClusterRole, "all") == before
