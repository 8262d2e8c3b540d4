import asyncio

from skerry.agent.slice import NodeSlice
from skerry.api.gateway_v1 import (
    CONTROLLER_NAME,
    NODE_SELECTOR_ANNOTATION,
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    GatewaySpec,
    Listener,
)
from skerry.api.model import ObjectMeta
from skerry.gateway.resources import NodeFacts
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.tasks import background
from skerry.testing.control_plane import memory_control_plane

SECONDS = 10.0


async def test_what_the_node_wrote_itself_wakes_it_not_and_what_others_write_does() -> None:
    async with memory_control_plane() as client, asyncio.timeout(SECONDS):
        spec = GatewayClassSpec(controller_name=CONTROLLER_NAME)
        written = await client.create(GatewayClass(metadata=ObjectMeta(name="ours"), spec=spec))
        node_slice, woken = NodeSlice(client), asyncio.Event()
        node_slice.note_own(written)
        async with background(*node_slice.loops):
            await node_slice.synced()
            woken.clear()  # by the namespaces that are always there
            node_slice.on_change(woken.set)
            await client.change(written, lambda found: setattr(found.metadata, "labels", {"a": "b"}))
            await woken.wait()


async def test_a_list_of_what_the_node_wrote_itself_wakes_it_not() -> None:
    async with memory_control_plane() as client, asyncio.timeout(SECONDS):
        spec = GatewayClassSpec(controller_name=CONTROLLER_NAME)
        written = await client.create(GatewayClass(metadata=ObjectMeta(name="ours"), spec=spec))
        node_slice = NodeSlice(client)
        seen: list[bool] = []
        node_slice.on_change(lambda: seen.append(False))
        node_slice.note_own(written)
        node_slice.gateway_classes.on_change(lambda _: seen.append(True))
        async with background(("classes", node_slice.gateway_classes.run)):
            await node_slice.gateway_classes.synced()
        assert seen == [True], "the cache told of it, and the node was not woken"


async def test_the_control_planes_own_node_leaves_gateways_to_the_nodes_that_they_select() -> None:
    async with memory_control_plane() as client, asyncio.timeout(SECONDS):
        spec = GatewaySpec(gateway_class_name="ours", listeners=[Listener(name="http", port=80, protocol="HTTP")])
        for name, annotations in (("here", None), ("there", {NODE_SELECTOR_ANNOTATION: "site=lyon"})):
            meta = ObjectMeta(name=name, namespace="default", annotations=annotations)
            await client.create(Gateway(metadata=meta, spec=spec))
        own, joined = NodeSlice(client), NodeSlice(client, joined=True)
        async with background(*own.loops, *((f"joined-{name}", loop) for name, loop in joined.loops)):
            await own.synced()
            await joined.synced()

        def run_by(node_slice: NodeSlice) -> list[str]:
            return sorted(each.name for each in node_slice.resources((), ImmutableMap(), NodeFacts()).gateways)

        assert run_by(own) == ["here"]
        assert dict(own.elsewhere) == {("default", "there"): "ours"}
        assert run_by(joined) == ["here", "there"]
