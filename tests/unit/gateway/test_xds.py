"""The xDS server against a real gRPC client that plays Envoy."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.ads_pb2_grpc import AggregatedDiscoveryServiceStub
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.any_pb2 import Any as AnyMessage

from skerry.gateway.errors import NotApplied
from skerry.gateway.snapshot import CLUSTER_TYPE, EXTENSION_TYPE, LISTENER_TYPE, ROUTE_TYPE, Snapshot, pack
from skerry.gateway.xds import XdsServer, serve_xds
from skerry.kit.errors import StartError

SECONDS = 10.0


@pytest.fixture(scope="module", autouse=True)
async def one_loop() -> None:
    """Keep one event loop for all tests: gRPC may still have a word for the loop of the test before."""


class Client:
    """One stream of an Envoy that acknowledges what it is told to."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def subscribe(self, type_url: str, *names: str, held: dict[str, str] | None = None) -> None:
        await self._call.write(
            DeltaDiscoveryRequest(
                type_url=type_url, resource_names_subscribe=names, initial_resource_versions=held or {}
            )
        )

    async def unsubscribe(self, type_url: str, *names: str) -> None:
        await self._call.write(DeltaDiscoveryRequest(type_url=type_url, resource_names_unsubscribe=names))

    async def read(self) -> Any:
        async with asyncio.timeout(SECONDS):
            return await self._call.read()

    async def answer(self, response: Any, error: str = "") -> None:
        request = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        if error:
            request.error_detail.code = 3
            request.error_detail.message = error
        await self._call.write(request)

    async def take(self) -> tuple[str, list[str], list[str]]:
        """Read a response and acknowledge it; returns its type's last word, what it adds and what it removes."""
        response = await self.read()
        await self.answer(response)
        added = [resource.name for resource in response.resources]
        return response.type_url.rpartition(".")[2], added, list(response.removed_resources)


@asynccontextmanager
async def connect(path: Path) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        call = AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
        yield Client(call)
        call.cancel()


@asynccontextmanager
async def server(tmp_path: Path) -> AsyncIterator[tuple[XdsServer, Path]]:
    path = tmp_path / "xds.sock"
    async with serve_xds(str(path)) as xds:
        yield xds, path


def clusters(**stats: str) -> Snapshot:
    return Snapshot.of(pack(name, Cluster(name=name, alt_stat_name=value)) for name, value in stats.items())


def whole(stat: str = "") -> Snapshot:
    return Snapshot.of(
        [
            pack("c", Cluster(name="c", alt_stat_name=stat)),
            pack("l", Listener(name="l", stat_prefix=stat)),
            pack("r", RouteConfiguration(name="r")),
        ],
        {(ROUTE_TYPE, "r"): frozenset({"l"})},
    )


async def test_each_response_carries_one_resource_and_only_what_changed(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path), connect(path) as client:
        xds.set_snapshot(clusters(a="1", b="1"))
        await client.subscribe(CLUSTER_TYPE)
        assert await client.take() == ("Cluster", ["a"], [])
        assert await client.take() == ("Cluster", ["b"], [])
        generation = xds.set_snapshot(clusters(a="1", b="2", c="1"))
        assert await client.take() == ("Cluster", ["b"], [])
        assert await client.take() == ("Cluster", ["c"], [])
        assert await xds.wait_until_applied(generation, timeout_seconds=SECONDS) == ()
        generation = xds.set_snapshot(clusters(b="2"))
        assert await client.take() == ("Cluster", [], ["a"])
        assert await client.take() == ("Cluster", [], ["c"])
        await xds.wait_until_applied(generation, timeout_seconds=SECONDS)


async def test_what_others_name_is_made_before_and_broken_after(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path), connect(path) as client:
        xds.set_snapshot(Snapshot.of(()))
        for type_url in (LISTENER_TYPE, CLUSTER_TYPE):
            await client.subscribe(type_url)
            assert (await client.take())[1:] == ([], [])
        await client.subscribe(ROUTE_TYPE, "r")
        assert await client.take() == ("RouteConfiguration", [], ["r"])
        xds.set_snapshot(whole())
        assert [(await client.take())[0] for _ in range(3)] == ["Cluster", "Listener", "RouteConfiguration"]
        xds.set_snapshot(Snapshot.of(()))
        assert [(await client.take())[0] for _ in range(2)] == ["Listener", "Cluster"]


async def test_a_snapshot_is_applied_only_when_its_route_tables_are(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path), connect(path) as client:
        generation = xds.set_snapshot(whole())
        for type_url in (CLUSTER_TYPE, LISTENER_TYPE):
            await client.subscribe(type_url)
            await client.take()
        with pytest.raises(NotApplied):
            await xds.wait_until_applied(generation, timeout_seconds=0)
        await client.subscribe(ROUTE_TYPE, "r")
        await client.take()
        assert await xds.wait_until_applied(generation, timeout_seconds=SECONDS) == ()


async def test_a_refusal_is_told_and_hurts_nothing_else(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path), connect(path) as client:
        generation = xds.set_snapshot(clusters(a="1", b="1"))
        await client.subscribe(CLUSTER_TYPE)
        await client.answer(await client.read(), error="bad a")
        await client.answer(await client.read())
        [rejection] = await xds.wait_until_applied(generation, timeout_seconds=SECONDS)
        assert (rejection.name, rejection.message) == ("a", "bad a")
        generation = xds.set_snapshot(clusters(a="2", b="1"))
        assert await client.take() == ("Cluster", ["a"], [])
        assert await xds.wait_until_applied(generation, timeout_seconds=SECONDS) == ()
        assert xds.rejections() == ()


async def test_a_refused_listener_leaves_its_route_table_unasked_for_and_the_wait_ends(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path), connect(path) as client:
        generation = xds.set_snapshot(whole())
        await client.subscribe(CLUSTER_TYPE)
        await client.take()
        await client.subscribe(LISTENER_TYPE)
        await client.answer(await client.read(), error="cannot bind")
        [rejection] = await xds.wait_until_applied(generation, timeout_seconds=SECONDS)
        assert rejection.name == "l"


async def test_a_refused_listener_is_offered_again_after_a_while_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.gateway.xds.REFUSED_RETRY_SECONDS", 0.01)
    async with server(tmp_path) as (xds, path), connect(path) as client:
        generation = xds.set_snapshot(whole())
        await client.subscribe(CLUSTER_TYPE)
        await client.answer(await client.read(), error="bad")
        await client.subscribe(LISTENER_TYPE)
        await client.answer(await client.read(), error="port taken")
        for _ in range(3):
            response = await client.read()
            assert response.type_url == LISTENER_TYPE
            await client.answer(response, error="still taken")
        assert (await client.take())[0] == "Listener"
        await client.subscribe(ROUTE_TYPE, "r")
        assert (await client.take())[0] == "RouteConfiguration"
        [rejection] = await xds.wait_until_applied(generation, timeout_seconds=SECONDS)
        assert rejection.name == "c"


async def test_a_refused_listener_is_offered_again_however_often_something_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.gateway.xds.REFUSED_RETRY_SECONDS", 0.1)
    listener = pack("l", Listener(name="l"))
    async with server(tmp_path) as (xds, path), connect(path) as client:
        xds.set_snapshot(Snapshot.of([listener]))
        await client.subscribe(LISTENER_TYPE)
        await client.answer(await client.read(), error="port taken")
        await client.subscribe(CLUSTER_TYPE)
        async with asyncio.timeout(SECONDS):
            changes = itertools.count()
            while (await client.take())[0] != "Listener":
                cluster = Cluster(name="c", alt_stat_name=str(next(changes)))
                xds.set_snapshot(Snapshot.of([listener, pack("c", cluster)]))


async def test_whoever_reports_hears_of_a_refusal_and_of_its_end_and_of_no_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.gateway.xds.REFUSED_RETRY_SECONDS", 0.01)
    path, heard = tmp_path / "xds.sock", list[tuple[str, ...]]()
    taken = Snapshot.of([pack("l", Listener(name="l"))])

    def hear() -> None:
        heard.append(tuple(each.message for each in xds.rejections()))

    async with serve_xds(str(path), on_refusals=hear) as xds, connect(path) as client:
        generation = xds.set_snapshot(taken)
        await client.subscribe(LISTENER_TYPE)
        for _ in range(3):
            await client.answer(await client.read(), error="port taken")
        assert (await client.take())[0] == "Listener"
        await client.subscribe(CLUSTER_TYPE)
        assert (await client.take())[0] == "Cluster"  # so the one before has been taken
        assert await xds.wait_until_applied(generation, timeout_seconds=SECONDS) == ()
    assert heard == [("port taken",), ()]


async def test_a_changed_plugin_is_one_response_and_a_refused_one_is_told(tmp_path: Path) -> None:
    def plugins(**versions: str) -> Snapshot:
        extensions = [
            pack(name, TypedExtensionConfig(name=name, typed_config=AnyMessage(value=version.encode())))
            for name, version in versions.items()
        ]
        users = {(EXTENSION_TYPE, name): frozenset({"l"}) for name in versions}
        return Snapshot.of([pack("l", Listener(name="l")), *extensions], users)

    async with server(tmp_path) as (xds, path), connect(path) as client:
        generation = xds.set_snapshot(plugins(a="1", b="1"))
        await client.subscribe(LISTENER_TYPE)
        assert await client.take() == ("Listener", ["l"], [])
        await client.subscribe(EXTENSION_TYPE, "a", "b")
        assert await client.take() == ("TypedExtensionConfig", ["a"], [])
        assert await client.take() == ("TypedExtensionConfig", ["b"], [])
        assert await xds.wait_until_applied(generation, timeout_seconds=SECONDS) == ()
        generation = xds.set_snapshot(plugins(a="1", b="2"))
        response = await client.read()
        assert [resource.name for resource in response.resources] == ["b"]
        await client.answer(response, error="refused")
        [rejection] = await xds.wait_until_applied(generation, timeout_seconds=SECONDS)
        assert (rejection.type_url, rejection.name, rejection.message) == (EXTENSION_TYPE, "b", "refused")


async def test_a_reconnecting_envoy_is_sent_only_what_it_lacks(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path):
        snapshot = clusters(a="1", b="2")
        generation = xds.set_snapshot(snapshot)
        async with connect(path) as client:
            await client.subscribe(CLUSTER_TYPE)
            await client.take()
            await client.take()
            await xds.wait_until_applied(generation, timeout_seconds=SECONDS)
        held = {"a": snapshot.resources[CLUSTER_TYPE]["a"].version, "b": "old", "gone": "old"}
        async with connect(path) as client:
            await client.subscribe(CLUSTER_TYPE, held=held)
            assert await client.take() == ("Cluster", ["b"], [])
            response = await client.take()
            while response[2] == response[1]:  # the greeting of a type holds nothing
                response = await client.take()
            assert response == ("Cluster", [], ["gone"])


async def test_a_name_that_is_asked_for_again_is_sent_again(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, path), connect(path) as client:
        xds.set_snapshot(whole())
        for _ in range(2):
            await client.subscribe(ROUTE_TYPE, "r")
            assert await client.take() == ("RouteConfiguration", ["r"], [])
            await client.unsubscribe(ROUTE_TYPE, "r")


async def test_without_an_envoy_the_wait_ends_with_an_error(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, _):
        with pytest.raises(NotApplied, match="has not applied"):
            await xds.wait_until_applied(xds.set_snapshot(whole()), timeout_seconds=0)


async def test_equal_snapshots_are_one_generation(tmp_path: Path) -> None:
    async with server(tmp_path) as (xds, _):
        assert xds.set_snapshot(clusters(a="1")) == xds.set_snapshot(clusters(a="1"))
        assert xds.set_snapshot(clusters(a="2")) == 2


async def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="at most 107 bytes"):
        async with serve_xds(str(tmp_path / ("x" * 120))):
            pass


async def test_a_socket_that_cannot_be_bound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="can't listen"):
        async with serve_xds(str(tmp_path / "missing" / "xds.sock")):
            pass


async def test_who_is_cancelled_while_the_server_stops_is_cancelled_once_it_has(tmp_path: Path) -> None:
    serves, leaves, went_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def life() -> None:
        async with server(tmp_path):
            serves.set()
            await leaves.wait()
            serves.clear()
        went_on.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(life())
        await serves.wait()
        async with connect(tmp_path / "xds.sock") as client:  # an open stream: the server waits for its end a while
            await client.subscribe(CLUSTER_TYPE)
            leaves.set()
            while serves.is_set():  # noqa: ASYNC110 - from then on, it stops
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
    assert task.cancelled()
    assert not went_on.is_set()
    async with server(tmp_path), connect(tmp_path / "xds.sock") as client:  # it let go of its socket
        await client.subscribe(CLUSTER_TYPE)
