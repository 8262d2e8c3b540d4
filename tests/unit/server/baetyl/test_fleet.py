"""The fleet follows the log, and rules what may be deleted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_configurations import Configuration
from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.core_v1 import Namespace, Secret
from skerry.api.errors import Forbidden
from skerry.api.model import Document, ObjectMeta, from_document
from skerry.client.client import Client
from skerry.fleet.applications import generated_configurations
from skerry.fleet.desire import Wanted
from skerry.fleet.index import Key
from skerry.server.baetyl.fleet import Fleet
from skerry.server.local import LocalTransport
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.control_plane import collecting

NODE_KEY: Key = ("default", "edge-1")


@dataclass
class Ground:
    fleet: Fleet
    verbs: Verbs
    client: Client


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    fleet = Fleet()
    async with open_verbs(policy=fleet) as (verbs, _), fleet.running(verbs):
        client = Client(LocalTransport(verbs, manager="test"))
        meta = ObjectMeta(name="edge-1", namespace="default", labels={"site": "lyon"})
        await client.create(Node(metadata=meta))
        yield Ground(fleet, verbs, client)


def meta(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, namespace="default")


def application(name: str, **spec: Any) -> Application:
    services: list[Document] = [{"name": "web", "image": "nginx"}]
    document = {"metadata": {"name": name, "namespace": "default"}}
    return from_document(Application, {**document, "spec": {"selector": "site=lyon", "services": services, **spec}})


async def test_an_acknowledged_write_is_bound(ground: Ground) -> None:
    stored = await ground.client.create(application("web"))
    version = int(stored.metadata.resource_version or 0)
    assert ground.fleet.index.desire(NODE_KEY).apps == (Wanted("web", version),)
    await ground.client.delete(stored)
    assert ground.fleet.index.desire(NODE_KEY).apps == ()


async def test_a_changed_configuration_reaches_the_nodes_of_the_applications_that_mount_it(ground: Ground) -> None:
    config = await ground.client.create(Configuration(metadata=meta("conf"), data={"a": "1"}))
    await ground.client.create(application("web", volumes=[{"name": "v", "config": {"name": "conf"}}]))
    changes: list[set[Key]] = []
    ground.fleet.on_change(changes.append)

    def change(stored: Configuration) -> None:
        stored.data = {"a": "2"}

    changed = await ground.client.change(config, change)
    assert ground.fleet.index.version_of(("default", "web")) == int(changed.metadata.resource_version or 0)
    assert changes == [{NODE_KEY}]


async def test_what_an_application_mounts_stays_until_it_is_let_go(ground: Ground) -> None:
    await ground.client.create(Configuration(metadata=meta("conf")))
    await ground.client.create(Secret(metadata=meta("hub"), data={}))
    volumes = [{"name": "v", "config": {"name": "conf"}}]
    app = await ground.client.create(application("web", volumes=volumes, registries=[{"name": "hub"}]))
    for model in (Configuration, Secret):
        found = await ground.client.get(model, "conf" if model is Configuration else "hub", namespace="default")
        with pytest.raises(Forbidden, match="used by the applications web"):
            await ground.client.delete(found)
    await ground.client.delete(app)
    await ground.client.delete(await ground.client.get(Configuration, "conf", namespace="default"))


async def test_a_namespace_ends_with_all_that_its_applications_mount(ground: Ground) -> None:
    client = ground.client
    namespace = await client.create(Namespace(metadata=ObjectMeta(name="ending")))
    await client.create(Configuration(metadata=ObjectMeta(name="conf", namespace="ending")))
    app = application("web", volumes=[{"name": "v", "config": {"name": "conf"}}])
    app.metadata.namespace = "ending"
    await client.create(app)

    async def is_gone() -> bool:
        return await client.find(Namespace, "ending") is None

    async with collecting(client) as collectors:
        await client.delete(namespace)
        await collectors.until(is_gone)
    assert await client.find(Configuration, "conf", namespace="ending") is None


async def test_a_configuration_that_is_made_of_an_application_is_found_by_its_name(ground: Ground) -> None:
    function = {"name": "f", "functionConfig": {"name": "code", "runtime": "python3"}}
    await ground.client.create(Configuration(metadata=meta("code")))
    app = await ground.client.create(application("fun", type="function", services=[function]))
    (name,) = generated_configurations(app)
    assert ground.fleet.generated_by(("default", name)) == "fun"
    await ground.client.delete(app)
    assert ground.fleet.generated_by(("default", name)) == ""


async def test_who_knows_less_than_a_node_waits_until_it_has_caught_up(ground: Ground) -> None:
    app = await ground.client.create(application("web"))
    newer = str(int(app.metadata.resource_version or 0) + 1)

    def change(stored: Application) -> None:
        stored.spec.description = "changed"

    async with asyncio.TaskGroup() as group:
        group.create_task(ground.fleet.caught_up(NODE_KEY, {"web": newer}, {}))
        group.create_task(ground.client.change(app, change))
    assert ground.fleet.index.version_of(("default", "web")) >= int(newer)
