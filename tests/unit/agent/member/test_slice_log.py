"""The replica of a node's slice: read as the log is, whole at any time, and there again after a restart."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from skerry.agent.member.slice_log import Held, SliceLog
from skerry.api.errors import Conflict, Expired, Forbidden, NotFound
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EdgeFunction
from skerry.api.gateway_v1 import GATEWAY, Gateway
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.client.transport import Target
from skerry.kit.errors import StartError
from skerry.kit.tasks import background
from skerry.testing.informed import shown, until

GATEWAY_KEY = "gateways.gateway.networking.k8s.io/default/edge"
FUNCTION_KEY = "edgefunctions.extensions.apoxy.dev//hello"


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def log(tmp_path: Path, executor: ThreadPoolExecutor) -> SliceLog:
    return SliceLog(tmp_path / "slice.json", executor)


def gateway(version: str, port: int = 80) -> Held:
    listener = {"name": "http", "port": port, "protocol": "HTTP"}
    metadata = {"name": "edge", "namespace": "default", "uid": "1", "generation": 1}
    spec = {"gatewayClassName": "skerry", "listeners": [listener]}
    return Held(version, {"metadata": metadata, "spec": spec})


def function(version: str, live: str) -> Held:
    code = {"wasmSource": {"url": "https://a.example/x.wasm"}}
    spec = {"template": {"mode": "backend", "code": code}}
    return Held(version, {"metadata": {"name": "hello", "uid": "2"}, "spec": spec, "status": {"liveRevision": live}})


def port_of(found: Gateway) -> int:
    return found.spec.listeners[0].port


@asynccontextmanager
async def informed(log: SliceLog, model: type[Any]) -> AsyncIterator[Informer[Any]]:
    informer: Informer[Any] = Informer(Client(log), model)
    async with background(("informer", informer.run)):
        await informer.synced()
        yield informer


async def test_an_informer_follows_the_replica_as_it_does_the_log(log: SliceLog) -> None:
    await log.take({GATEWAY_KEY: gateway("a")})
    async with informed(log, Gateway) as informer:
        await shown(informer, "edge", lambda found: port_of(found) == 80)
        await log.take({GATEWAY_KEY: gateway("b", port=81)})
        await shown(informer, "edge", lambda found: port_of(found) == 81)
        await log.take({}, [GATEWAY_KEY])
        await until(informer, lambda objects: not len(objects))


async def test_a_replica_that_is_opened_again_is_what_it_was(
    tmp_path: Path, executor: ThreadPoolExecutor, log: SliceLog
) -> None:
    await log.take({GATEWAY_KEY: gateway("a"), FUNCTION_KEY: function("f", "hello-a")})
    client = Client(log)
    served = await client.get(EdgeFunction, "hello")
    await client.change_status(served, lambda found: setattr(found.status, "serving_revision", "hello-a"))
    await log.keep()
    again = SliceLog(tmp_path / "slice.json", executor)
    assert again.known() == {GATEWAY_KEY: "a", FUNCTION_KEY: "f"}
    assert again.statuses() == log.statuses()
    assert (await Client(again).get(EdgeFunction, "hello")).status.serving_revision == "hello-a"


async def test_what_the_control_plane_decides_takes_the_place_of_what_this_node_knew_of_that(log: SliceLog) -> None:
    await log.take({FUNCTION_KEY: function("f", "hello-a")})
    client = Client(log)

    def serve(found: EdgeFunction) -> None:
        found.status.serving_revision = "hello-a"
        found.status.previous_revision = "hello-0"

    await client.change_status(await client.get(EdgeFunction, "hello"), serve)
    await log.take({FUNCTION_KEY: function("g", "hello-b")})
    status = (await client.get(EdgeFunction, "hello")).status
    assert (status.live_revision, status.serving_revision, status.previous_revision) == ("hello-b", "hello-a", None)
    assert log.statuses()[FUNCTION_KEY] == {"liveRevision": "hello-b", "servingRevision": "hello-a"}


async def test_a_status_is_written_over_no_newer_state(log: SliceLog) -> None:
    await log.take({GATEWAY_KEY: gateway("a")})
    target = Target(GATEWAY, "default", "edge", "status")
    before = await log.get(target)
    await log.take({GATEWAY_KEY: gateway("b", port=81)})
    with pytest.raises(Conflict):
        await log.replace(target, before)


async def test_a_watch_that_would_miss_a_change_is_told_so(log: SliceLog) -> None:
    listed = await log.list(Target(GATEWAY), label_selector="", limit=500, continue_token="")
    await log.take({GATEWAY_KEY: gateway("a")})
    with pytest.raises(Expired):
        async with log.watch(Target(GATEWAY), resource_version=listed["metadata"]["resourceVersion"]):
            pass


async def test_nothing_but_statuses_is_taken_from_this_node(log: SliceLog) -> None:
    client = Client(log)
    with pytest.raises(NotFound):
        await client.get(Gateway, "edge", namespace="default")
    await log.take({FUNCTION_KEY: function("f", "hello-a")})
    made = await client.get(EdgeFunction, "hello")
    for write in (
        client.create(made.model_copy(update={"metadata": ObjectMeta(name="other")})),
        client.change(made, lambda found: setattr(found.spec, "revision_history_limit", 3)),
        client.delete(made),
        log.merge_patch(Target(EDGE_FUNCTION, "", "hello"), {}),
    ):
        with pytest.raises(Forbidden):
            await write


async def test_whoever_listens_hears_of_every_change(log: SliceLog) -> None:
    heard = asyncio.Event()
    log.on_change(heard.set)
    await log.take({GATEWAY_KEY: gateway("a")})
    assert heard.is_set()


def test_a_file_that_is_no_replica_stops_the_start(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "slice.json").write_text('{"objects": []}')
    with pytest.raises(StartError, match="remove it"):
        SliceLog(tmp_path / "slice.json", executor)


async def test_statuses_kept_while_a_slice_is_written_leave_that_slice_on_disk(
    tmp_path: Path, executor: ThreadPoolExecutor, log: SliceLog
) -> None:
    await log.take({GATEWAY_KEY: gateway("a")})
    let_on = Event()
    executor.submit(let_on.wait)  # so that both wait for the disk
    async with asyncio.TaskGroup() as group:
        group.create_task(log.take({GATEWAY_KEY: gateway("b", port=81)}))
        group.create_task(log.keep())
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, let_on.set)
    assert SliceLog(tmp_path / "slice.json", executor).known() == {GATEWAY_KEY: "b"}
