"""Makes the application `baetyl-core` in every namespace that has nodes, and again where someone deletes it.

Agents take a node that is to run no part of Baetyl itself for one that is not ready yet, so each must have one.
Upstream makes several for each node, with a random name and again at each activation; here one stands for all nodes of
a namespace, and has nothing in it, because nodes are installed with their agent: making a node makes no objects but
its own. Owns that it is there. Does not own what is in it: one that exists is never written.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import NODE_NAME_LABEL, SYSTEM_LABEL, Node
from skerry.api.errors import AlreadyExists, Forbidden, NotFound
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.kit.tasks import KeyedWorkers

#: Agents know the part by the beginning of its name.
CORE = "baetyl-core"
#: Namespaces worked on at once.
CONCURRENCY = 4


class SystemApplications:
    """Keeps the application; `running()` is its life.

    Args:
        client: makes it.
        informers: where the caches of nodes and applications come from.
    """

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._nodes = informers.of(Node)
        self._applications = informers.of(Application)
        self._workers = KeyedWorkers("baetyl-system-apps", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make applications for the length of the block."""
        self._nodes.on_change(self._look_at_node)
        self._applications.on_change(self._look_at_application)
        try:
            yield
        finally:
            await self._workers.stop()

    def _look_at_node(self, key: tuple[str, str]) -> None:
        if self._nodes.get(key[1], key[0]) is not None and self._applications.get(CORE, key[0]) is None:
            self._workers.add(key[0])

    def _look_at_application(self, key: tuple[str, str]) -> None:
        if key[1] == CORE and self._applications.get(CORE, key[0]) is None:
            self._workers.add(key[0])

    async def reconcile(self, namespace: str) -> None:
        """Make the application of one namespace, where it lacks and there are nodes."""
        await self._nodes.synced()
        await self._applications.synced()
        has_nodes = any(node.namespace == namespace for node in self._nodes)
        if not has_nodes or self._applications.get(CORE, namespace) is not None:
            return
        labels = {SYSTEM_LABEL: "true"}
        spec = ApplicationSpec(selector=NODE_NAME_LABEL, system=True, description="The agent of each node.")
        try:
            await self._client.create(
                Application(metadata=ObjectMeta(name=CORE, namespace=namespace, labels=labels), spec=spec)
            )
        except (AlreadyExists, NotFound, Forbidden):
            return  # made by someone else, or the namespace ends or is gone
