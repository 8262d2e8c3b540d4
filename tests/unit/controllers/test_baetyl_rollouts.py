"""Rollouts: nodes are brought to another application as they report, and back where they fail."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_configurations import Configuration
from skerry.api.baetyl_rollouts import Rollout
from skerry.api.baetyl_v1alpha1 import NODE_REPORT, Node, NodeReport
from skerry.api.core_v1 import Event
from skerry.api.model import ObjectMeta, from_document, to_document
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.baetyl_rollouts import RolloutController
from skerry.kit.clock import SystemClock
from skerry.server.baetyl.fleet import Fleet
from skerry.server.local import LocalTransport
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.informed import SHOWN_SECONDS_MAX, shown, until

NAMES = ("n1", "n2", "n3", "n4")


@dataclass
class Ground:
    """A fleet of four nodes, two of them in Lyon, that run `web`; `web-2` is there, too."""

    client: Client
    verbs: Verbs
    fleet: Fleet
    informers: Informers

    def running(self, name: str) -> list[str]:
        """Return the nodes that are to run an application."""
        desires = {node: self.fleet.index.desire(("default", node)).apps for node in NAMES}
        return [node for node, apps in desires.items() if [wanted.name for wanted in apps] == [name]]

    async def come(self, name: str, nodes: Sequence[str]) -> None:
        """Wait until these nodes, and no others, are to run an application."""
        changed = asyncio.Event()
        self.fleet.on_change(lambda _: changed.set())
        async with asyncio.timeout(SHOWN_SECONDS_MAX):
            while self.running(name) != list(nodes):
                await changed.wait()
                changed.clear()

    async def report(self, node: str, status: str) -> None:
        """Report the state of what the node is to run."""
        (wanted,) = self.fleet.index.desire(("default", node)).apps
        stats = [{"name": wanted.name, "version": str(wanted.version), "status": status}]
        meta = ObjectMeta(name=node, namespace="default")
        new = NodeReport(metadata=meta, time="2026-01-01T00:00:00Z", report={"appstats": stats})
        await self.verbs.record(Target(NODE_REPORT, "default", node), new)

    async def shows(self, holds: Any) -> Rollout:
        """Wait for a state of the rollout."""
        return await shown(self.informers.of(Rollout), "to-2", holds)


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    fleet = Fleet()
    async with open_verbs(policy=fleet) as (verbs, _), fleet.running(verbs):
        client = Client(LocalTransport(verbs, manager="test"))
        for number, name in enumerate(NAMES):
            labels = {"all": "yes", "site": "lyon" if number < 2 else "oslo"}
            await client.create(Node(metadata=ObjectMeta(name=name, namespace="default", labels=labels)))
        for name, selector in (("web", "all"), ("web-2", "")):
            services = [{"name": "web", "image": name}]
            meta = {"name": name, "namespace": "default"}
            spec = {"selector": selector, "services": services}
            await client.create(from_document(Application, {"metadata": meta, "spec": spec}))
        informers = Informers(client)
        informers.of(Event)
        controller = RolloutController(client, informers, fleet.index, SystemClock())
        async with controller.running(), informers.running():
            yield Ground(client, verbs, fleet, informers)


async def begin(ground: Ground, **spec: Any) -> None:
    document = {"application": "web", "target": "web-2", "groups": [{"selector": "site=lyon"}], **spec}
    meta = {"name": "to-2", "namespace": "default"}
    await ground.client.create(from_document(Rollout, {"metadata": meta, "spec": document}))


async def test_a_group_is_let_in_and_the_rest_follows_when_it_runs(ground: Ground) -> None:
    await begin(ground)
    await ground.shows(lambda r: r.status.admitted_groups == 1 and r.status.counts.admitted == 2)
    await ground.come("web-2", ["n1", "n2"])
    assert ground.running("web") == ["n3", "n4"]
    for name in ("n1", "n2"):
        await ground.report(name, "Running")
    await ground.shows(lambda r: r.status.admitted_groups == 2)
    await ground.come("web-2", NAMES)
    for name in ("n3", "n4"):
        await ground.report(name, "Running")
    done = await ground.shows(lambda r: r.status.phase == "Complete")
    assert (done.status.counts.total, done.status.counts.succeeded) == (4, 4)


async def test_a_failure_takes_all_back_and_is_told(ground: Ground) -> None:
    await begin(ground)
    await ground.come("web-2", ["n1", "n2"])
    await ground.report("n1", "Failed")
    await ground.shows(lambda r: r.status.phase == "RolledBack")
    await ground.come("web", NAMES)
    events = ground.informers.of(Event)
    await until(events, lambda held: any(event.reason == "RolledBack" and event.type == "Warning" for event in held))


async def test_without_groups_everyone_is_let_in_at_once_and_a_deleted_rollout_lets_go(ground: Ground) -> None:
    await begin(ground, groups=[])
    rollout = await ground.shows(lambda r: r.status.admitted_groups == 1)
    await ground.come("web-2", NAMES)
    await ground.client.delete(rollout)
    await ground.come("web", NAMES)


async def test_a_target_that_is_not_there_takes_nobody(ground: Ground) -> None:
    await begin(ground, target="none", groups=[])
    await ground.shows(lambda r: r.status.admitted_groups == 1)
    await ground.come("web", NAMES)


async def test_a_configuration_comes_to_nodes_in_place_of_another_and_follows_its_application(ground: Ground) -> None:
    for name in ("old", "new"):
        config = Configuration(metadata=ObjectMeta(name=name, namespace="default"), data={"a": name})
        await ground.client.create(config)
    web = await ground.client.get(Application, "web", namespace="default")
    volumes = [{"name": "c", "config": {"name": "old"}}]
    mounting = ApplicationSpec.model_validate({**to_document(web.spec), "volumes": volumes}, by_alias=True)
    web = await ground.client.change(web, lambda found: setattr(found, "spec", mounting))
    await begin(ground, target="", replaces=[{"configuration": "old", "by": "new"}])
    await ground.come("to-2", ["n1", "n2"])
    made = await ground.client.get(Application, "to-2", namespace="default")
    assert [volume.config.name for volume in made.spec.volumes or () if volume.config] == ["new"]
    assert made.spec.services == web.spec.services

    def renew(found: Application) -> None:
        found.spec.description = "with a new image"

    await ground.client.change(web, renew)
    await until(
        ground.informers.of(Application), lambda held: any(app.spec.description and app.name == "to-2" for app in held)
    )
    await ground.client.delete(await ground.client.get(Rollout, "to-2", namespace="default"))
    await ground.come("web", NAMES)
