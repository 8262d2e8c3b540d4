"""Every node has a part of Baetyl to run."""

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.model import ObjectMeta
from skerry.client.informers import Informers
from skerry.controllers.baetyl_system_apps import CORE, SystemApplications
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.informed import shown, until


async def test_a_namespace_with_nodes_has_one_and_gets_it_again_where_it_is_deleted():
    async with memory_control_plane() as client:
        informers = Informers(client)
        applications = informers.of(Application)
        async with SystemApplications(client, informers).running(), informers.running():
            for name in ("n1", "n2"):
                await client.create(Node(metadata=ObjectMeta(name=name, namespace="default")))
            first = await shown(applications, CORE, lambda _: True)
            assert (first.spec.system, first.spec.selector) == (True, "baetyl-node-name")
            await client.delete(first)
            await shown(applications, CORE, lambda found: found.uid != first.uid)
            assert len(applications) == 1


async def test_a_namespace_without_nodes_has_none():
    async with memory_control_plane() as client:
        informers = Informers(client)
        applications, apps = informers.of(Application), SystemApplications(client, informers)
        async with apps.running(), informers.running():
            await apps.reconcile("default")
            await client.create(Application(metadata=ObjectMeta(name="mine", namespace="default")))
            await until(applications, lambda found: len(found) == 1)
            assert applications.get(CORE, "default") is None
