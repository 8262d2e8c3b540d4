"""A node's Gateways: served while any is wanted, after their code has come, and across losses of the link."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from skerry.agent.member.artifacts import NodeArtifacts
from skerry.agent.member.errors import ApplicationError, LinkError, RefusedError
from skerry.agent.member.function_logs import SliceFunctionLogs
from skerry.agent.member.gateways import Gateways, Metrics
from skerry.agent.member.replica import Replica
from skerry.agent.member.slice_link import SliceLink
from skerry.agent.member.slice_log import Held, SliceLog
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError
from skerry.artifacts.folder import FolderKeep
from skerry.fleet.log_wishes import LogWish
from skerry.kit.clock import SystemClock
from skerry.testing.member_node import until

CODE = b"code"
DIGEST = str(Digest.of(CODE))
BOOKMARK = {"type": "BOOKMARK"}


@dataclass
class Cloud:
    """What a control plane answers: `CloudLink`, as far as it matters here.

    Attributes:
        lines: of the slice; the answer goes on until `end` is set.
        code: by digest; where `code_is_away`, whoever asks for some finds nobody.
        told: the statuses that came.
    """

    lines: list[Any] = field(default_factory=list)
    code: dict[str, bytes] = field(default_factory=dict)
    told: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    end: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    code_is_away: bool = False

    @asynccontextmanager
    async def opened(
        self, method: str, path: str, content: Any = None, **_: Any
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(f"{method} {path}")
        if self.away or (self.code_is_away and "artifacts" in path):
            raise LinkError("the control plane can't be reached")
        yield self._pieces(path, content)

    async def _pieces(self, path: str, content: Any) -> AsyncIterator[bytes]:
        if path.startswith("/v1/slice/artifacts/"):
            digest = path.rpartition("/")[2]
            if digest not in self.code:
                raise RefusedError("the control plane answered 404")
            yield self.code[digest]
        elif path == "/v1/slice/statuses":
            self.told.append(content["statuses"])
            yield b"{}"
        else:
            text = b"".join(orjson.dumps(line) + b"\n" for line in self.lines)
            yield text[:7]  # a line may come in parts
            yield text[7:]
            await self.end.wait()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@dataclass
class Node:
    """A node whose Gateways are served by nobody."""

    cloud: Cloud
    replica: Replica
    log: SliceLog
    artifacts: NodeArtifacts
    link: SliceLink
    logs: SliceFunctionLogs
    served: list[str] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)

    @asynccontextmanager
    async def plane(self) -> AsyncIterator[Metrics]:
        if self.fails:
            raise self.fails.pop()
        self.served.append("begin")
        yield counted
        self.served.append("end")


async def counted() -> bytes:
    return b"counted"


@pytest.fixture
async def node(tmp_path: Path, executor: ThreadPoolExecutor) -> AsyncIterator[Node]:
    async with FolderKeep(tmp_path / "artifacts") as keep:
        cloud: Any = Cloud()
        log, artifacts = SliceLog(tmp_path / "slice.json", executor), NodeArtifacts(keep, cloud)
        logs = SliceFunctionLogs(log, tmp_path / "logs", SystemClock())
        yield Node(cloud, Replica(tmp_path / "replica"), log, artifacts, SliceLink(cloud, log, artifacts), logs)


def put(name: str, version: str = "1", **status: Any) -> dict[str, Any]:
    document = {"metadata": {"name": name}, "spec": {}, "status": status}
    key = f"edgefunctionrevisions.extensions.apoxy.dev//{name}"
    return {"type": "MODIFIED", "key": key, "version": version, "object": document}


async def test_gateways_are_served_for_as_long_as_any_is_wanted(node: Node) -> None:
    node.cloud.lines = [put("r"), BOOKMARK]
    gateways = Gateways(node.replica, node.log, node.link, node.plane, node.logs)
    async with gateways.running():
        assert gateways.status() == {"names": [], "state": "Pending", "cause": ""}
        node.replica.take({"gateways": ["edge"]})
        gateways.look()
        await until(lambda: node.served == ["begin"])
        assert gateways.status() == {"names": ["edge"], "state": "Running", "cause": ""}
        node.replica.take({"gateways": []})
        gateways.look()
        await until(lambda: node.served == ["begin", "end"] and not len(node.log))
        await until(lambda: bool(node.cloud.told) and node.cloud.told[-1] == {})


async def test_a_node_that_runs_no_gateway_asks_for_nothing(node: Node) -> None:
    gateways = Gateways(node.replica, node.log, node.link, node.plane, node.logs)
    async with gateways.running():
        gateways.look()
        await asyncio.sleep(0)
    assert (node.cloud.asked, node.served) == ([], [])


async def test_what_was_taken_is_served_without_the_control_plane(node: Node) -> None:
    node.cloud.lines, node.cloud.away = [put("r"), BOOKMARK], False
    node.cloud.end.set()
    await node.link.follow()
    node.cloud.away = True
    node.replica.take({"gateways": ["edge"]})
    async with Gateways(node.replica, node.log, node.link, node.plane, node.logs).running():
        await until(lambda: node.served == ["begin"])


async def test_why_gateways_can_not_be_served_is_told(node: Node) -> None:
    node.cloud.lines = [put("r"), BOOKMARK]
    node.replica.take({"gateways": ["edge"]})
    node.fails = [LinkError("no proxy")]
    gateways = Gateways(node.replica, node.log, node.link, node.plane, node.logs)
    async with gateways.running():
        await until(lambda: gateways.status()["cause"] == "no proxy")
        await until(lambda: gateways.status()["state"] == "Running")


async def test_what_functions_count_is_told_while_gateways_are_served_and_else_why_not(node: Node) -> None:
    node.cloud.lines = [put("r"), BOOKMARK]
    node.fails = [LinkError("no proxy")]
    gateways = Gateways(node.replica, node.log, node.link, node.plane, node.logs)
    async with gateways.running():
        assert await gateways.metrics() == b""
        node.replica.take({"gateways": ["edge"]})
        with pytest.raises(ApplicationError, match="being started"):
            await gateways.metrics()
        gateways.look()
        await until(lambda: gateways.status()["cause"] == "no proxy")
        with pytest.raises(ApplicationError, match="no proxy"):
            await gateways.metrics()
        await until(lambda: gateways.status()["state"] == "Running")
        assert await gateways.metrics() == b"counted"
        node.replica.take({"gateways": []})
        gateways.look()
        await until(lambda: node.served == ["begin", "end"])
        assert await gateways.metrics() == b""


async def test_a_slice_is_taken_whole_and_after_its_code(node: Node) -> None:
    node.cloud.code = {DIGEST: CODE}
    node.cloud.lines = [put("r", artifact={"digest": DIGEST}), BOOKMARK, put("s")]
    node.cloud.end.set()
    await node.link.follow()
    assert [key.rpartition("/")[2] for key in node.log.known()] == ["r"]
    node.cloud.away = True
    assert (await node.artifacts.fetch(DIGEST)).read_bytes() == CODE


async def test_a_slice_whose_code_can_not_be_fetched_waits_and_one_whose_code_is_refused_does_not(node: Node) -> None:
    node.cloud.lines = [put("r", artifact={"digest": DIGEST}), BOOKMARK]
    node.cloud.end.set()
    node.cloud.code_is_away = True
    with pytest.raises(LinkError):
        await node.link.follow()
    assert node.log.known() == {}
    node.cloud.code_is_away = False
    await node.link.follow()
    assert len(node.log.known()) == 1


async def test_code_that_is_not_what_its_digest_says_is_not_kept(node: Node) -> None:
    node.cloud.code = {DIGEST: b"other"}
    with pytest.raises(ArtifactCorruptError):
        await node.artifacts.fetch(DIGEST)


@pytest.mark.parametrize("line", [{"type": "MODIFIED"}, {"type": "ADDED", "key": 3}, ["x"], {}])
async def test_what_is_no_slice_is_refused(node: Node, line: Any) -> None:
    node.cloud.lines = [line]
    with pytest.raises(LinkError, match="can't be read"):
        await node.link.follow()
    assert node.log.known() == {}


async def printed(node: Node, function: str, wish: LogWish) -> bytes:
    return b"".join([part async for part in node.logs.printed(function, wish)])


async def test_what_a_function_of_the_slice_prints_is_read_and_of_no_other(node: Node, tmp_path: Path) -> None:
    document = {"metadata": {"name": "hello", "uid": "u1"}, "spec": {}}
    await node.log.take({"edgefunctions.extensions.apoxy.dev//hello": Held("1", document)})
    (tmp_path / "logs").mkdir()
    told = {"time": "2026-01-01T00:00:00.000Z", "level": "info", "revision": "r", "message": "one"}
    line = orjson.dumps(told) + b"\n"
    (tmp_path / "logs" / "hello.u1.log").write_bytes(line * 3)
    assert await printed(node, "hello", LogWish()) == line * 3
    assert await printed(node, "hello", LogWish(tail_lines=1)) == line
    assert await printed(node, "hello", LogWish(since_seconds=60)) == b""
    with pytest.raises(ApplicationError, match="leads to the function 'other'"):
        await printed(node, "other", LogWish())
    with pytest.raises(ApplicationError, match="one log"):
        await printed(node, "hello", LogWish(previous=True))
