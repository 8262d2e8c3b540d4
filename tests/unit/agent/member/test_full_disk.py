"""A node whose disk is full: a real one, of little size."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.agent.member.member import run_member
from skerry.agent.member.states import ApplicationState
from skerry.kit.clock import SystemClock
from skerry.kit.processes import bound_output
from skerry.testing.member_node import FakeCloud, MemberNode, idle_machine, member_node, until
from skerry.testing.node_links import served_fleet
from skerry.testing.small_disk import SmallDisk, SmallDiskMissingError, small_disk

DISK_BYTES = 16 * 1024 * 1024
OBJECT_BYTES = 4 * 1024 * 1024
STAYS = {"command": ["sleep"], "args": ["1000"]}
BIG_SECRET = {"data": {"key": base64.b64encode(bytes(OBJECT_BYTES)).decode()}}
OBJECT = {"data": {"_object_big": json.dumps({"url": "https://objects.example/big"})}}


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    try:
        with small_disk(DISK_BYTES) as disk:
            yield disk
    except SmallDiskMissingError as error:
        pytest.skip(str(error))


def runs_in(version: str, state: ApplicationState) -> bool:
    return (state.status, state.version) == ("Running", version)


async def is_full_and_has_room_again(node: MemberNode, disk: SmallDisk) -> None:
    """Have version 2, which needs much, wanted of a node that runs version 1 and whose disk is full; then make room."""
    node.want(web="1")
    pid = (await node.until("web", lambda state: runs_in("1", state))).instances[0].pid
    disk.fill(but_bytes=OBJECT_BYTES // 2)
    try:
        node.want(web="2")
        failed = await node.until("web", lambda state: state.status == "Failed")
        assert "No space left on device" in failed.cause
        assert (failed.version, failed.instances[0].pid) == ("2", pid), "version 1 runs on"
        assert disk.free_bytes >= OBJECT_BYTES // 4, "what came of it was given back"
    finally:
        disk.make_room()
    node.applications.look()
    await node.until("web", lambda state: runs_in("2", state))


@pytest.mark.parametrize("sort", ["configuration", "secret"])
async def test_what_there_is_no_room_for_leaves_the_version_before_running_and_comes_once_there_is(
    disk: SmallDisk, sort: str
) -> None:
    cloud = FakeCloud({("configuration", "big", "1"): OBJECT, ("secret", "big", "1"): BIG_SECRET})
    served = httpx.MockTransport(lambda _: httpx.Response(200, content=bytes(OBJECT_BYTES)))
    folder = disk.directory / sort
    async with member_node(folder, cloud, served) as node:
        which = "config" if sort == "configuration" else "secret"
        volumes = [{"name": "big", which: {"name": "big", "version": "1"}}]
        node.add("web", "1", STAYS)
        node.add("web", "2", {**STAYS, "volumeMounts": [{"name": "big", "mountPath": "/big"}]}, volumes=volumes)
        await is_full_and_has_room_again(node, disk)
        node.want()
        await until(lambda: not (folder / "run" / "web").exists())


async def test_what_is_to_run_is_known_before_there_is_room_to_write_it_down(disk: SmallDisk) -> None:
    folder = disk.directory / "desire"
    async with member_node(folder, FakeCloud()) as node:
        node.add("web", "1", STAYS)
        disk.fill()
        try:
            with pytest.raises(OSError, match="No space left on device"):
                node.want(web="1")
            assert node.replica.wanted("apps") == {"web": "1"}
        finally:
            disk.make_room()
        node.want(web="1")
    async with member_node(folder, FakeCloud()) as node:
        assert node.replica.wanted("apps") == {"web": "1"}, "it was written down"


async def test_a_node_with_a_full_disk_reports_why_nothing_new_runs_and_runs_it_later(
    disk: SmallDisk, tmp_path: Path
) -> None:
    async with served_fleet(tmp_path / "cloud") as served:
        settings = served.node_settings(disk.directory / "node")
        async with run_member(settings, idle_machine(tmp_path / "code"), SystemClock()) as member:
            await until(lambda: bool(member.reported_at))
            disk.fill()
            try:
                await served.sleeper()
                told = await served.reported(lambda report: has_status(report, "Failed"))
                assert "No space left on device" in told["appstats"][0]["cause"]
            finally:
                disk.make_room()
            await served.reported(lambda report: has_status(report, "Running"))


def has_status(report: Any, status: str) -> bool:
    return [each["status"] for each in report.get("appstats") or ()] == [status]


def test_a_log_that_there_is_no_room_to_keep_is_emptied(disk: SmallDisk) -> None:
    log = disk.directory / "main-0.log"
    log.write_bytes(bytes(OBJECT_BYTES))
    disk.fill()
    try:
        bound_output(log, OBJECT_BYTES // 2)
        assert log.stat().st_size == 0
        assert not log.with_name("main-0.log.1").exists()
    finally:
        disk.make_room()
        log.unlink()
