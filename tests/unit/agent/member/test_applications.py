"""Applications of a node: real processes, and a control plane that the test speaks for."""

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any

import httpx

from skerry.agent.member.states import ApplicationState
from skerry.testing.member_node import FakeCloud, until

#: Writes what it sees to the file `told`, and stays.
TELLS = {"command": ["sh", "-c", "cat etc/conf.yml > told; env >> told; exec sleep 1000"]}
STAYS = {"command": ["sleep"], "args": ["1000"]}
CONFIG_VOLUME = {"name": "conf", "config": {"name": "settings", "version": "5"}}
MOUNTED = {"volumeMounts": [{"name": "conf", "mountPath": "/etc"}]}


def runs(state: ApplicationState) -> bool:
    return state.status == "Running"


def failed(state: ApplicationState) -> bool:
    return state.status == "Failed"


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_program_runs_with_its_configuration_its_variables_and_its_identity(start: Any) -> None:
    cloud = FakeCloud({("configuration", "settings", "5"): {"data": {"conf.yml": "greeting: hello\n"}}})
    async with start(cloud) as node:
        service = {**TELLS, **MOUNTED, "env": [{"name": "COLOUR", "value": "green"}]}
        node.add("web", "7", service, volumes=[CONFIG_VOLUME])
        node.want(web="7")
        state = await node.until("web", runs)
        told = node.instance("web", "7", "told")
        await until(lambda: told.exists() and "COLOUR" in told.read_text())
        lines = told.read_text().splitlines()
        assert "greeting: hello" in lines
        assert {"COLOUR=green", "BAETYL_APP_NAME=web", "BAETYL_APP_VERSION=7", "BAETYL_NODE_NAME=n1"} <= set(lines)
        assert not [line for line in lines if line.startswith("PYTHONPATH=")]
        assert state.document("host")["instances"]["web.7.main.0"]["serviceName"] == "main"
        assert node.applications.versions() == {"web": "7"}


async def test_an_application_that_is_not_wanted_any_more_leaves_no_process_and_no_file(start: Any) -> None:
    async with start(FakeCloud()) as node:
        node.add("web", "1", {"command": ["sh", "-c", "sleep 1000 & echo $! > child; wait"]})
        node.want(web="1")
        pid = (await node.until("web", runs)).instances[0].pid
        child_file = node.instance("web", "1", "child")
        await until(lambda: child_file.exists() and child_file.read_text().strip())
        child = int(child_file.read_text())
        node.want()
        await until(lambda: not (node.data_dir / "run" / "web").exists())
        await until(lambda: not is_alive(child))
        assert not is_alive(pid)
        assert node.applications.states() == []


async def test_a_new_version_takes_the_place_of_the_old_one_whose_files_go(start: Any) -> None:
    async with start(FakeCloud()) as node:
        node.add("web", "1", STAYS)
        node.add("web", "2", STAYS)
        node.want(web="1")
        old = (await node.until("web", runs)).instances[0].pid
        node.want(web="2")
        state = await node.until("web", lambda state: state.version == "2" and runs(state))
        assert not is_alive(old)
        assert is_alive(state.instances[0].pid)
        await until(lambda: not (node.data_dir / "run" / "web" / "1").exists())
        await until(lambda: [path.name for path in (node.data_dir / "replica").rglob("*.json")].count("1.json") == 0)


async def cause_of_a_failed_update(node: Any) -> str:
    """Want a version that mounts a configuration, in place of one that runs, and goes on when the new one fails."""
    node.add("web", "1", STAYS)
    node.add("web", "2", {**STAYS, **MOUNTED}, volumes=[CONFIG_VOLUME])
    node.want(web="1")
    pid = (await node.until("web", runs)).instances[0].pid
    node.want(web="2")
    state = await node.until("web", failed)
    assert state.version == "2"
    assert is_alive(pid)
    assert node.applications.versions() == {"web": "1"}
    return str(state.cause)


async def test_a_version_that_cannot_be_brought_leaves_the_old_one_running_and_says_why(start: Any) -> None:
    async with start(FakeCloud()) as node:
        assert "settings is not found" in await cause_of_a_failed_update(node)


async def test_a_program_that_is_not_there_is_told_as_the_cause(start: Any) -> None:
    async with start(FakeCloud()) as node:
        node.add("web", "1", {"command": ["bin/nothing"]})
        node.want(web="1")
        state = await node.until("web", failed)
        assert state.cause == "service main: its program bin/nothing is not there"


async def test_a_program_that_ends_again_and_again_is_failed_with_its_exit_code(start: Any) -> None:
    async with start(FakeCloud()) as node:
        node.add("web", "1", {"command": ["sh", "-c", "echo no database; exit 3"]})
        node.want(web="1")
        state = await node.until("web", failed)
        assert state.document("host")["cause"].startswith("its program ended with exit code 3")
        assert "no database" in (node.data_dir / "logs" / "web" / "main-0.log").read_text()


async def test_a_program_that_dies_is_started_again(start: Any) -> None:
    async with start(FakeCloud()) as node:
        node.add("web", "1", STAYS)
        node.want(web="1")
        pid = (await node.until("web", runs)).instances[0].pid
        os.kill(pid, 9)
        state = await node.until("web", lambda state: state.instances[0].pid not in {0, pid})
        assert is_alive(state.instances[0].pid)


async def test_a_job_ends_and_is_not_started_again(start: Any) -> None:
    async with start(FakeCloud()) as node:
        node.add("once", "1", {"command": ["sh", "-c", "echo done >> ran"]}, workload="job")
        node.want(once="1")
        state = await node.until("once", lambda state: state.status == "Succeeded")
        assert state.instances[0].pid == 0
        assert node.instance("once", "1", "ran").read_text() == "done\n"


async def test_a_program_whose_probe_fails_is_started_again(start: Any) -> None:
    async with start(FakeCloud()) as node:
        probe = {"exec": {"command": ["false"]}, "periodSeconds": 0.05, "failureThreshold": 2, "timeoutSeconds": 30}
        node.add("web", "1", {**STAYS, "livenessProbe": probe})
        node.want(web="1")
        state = await node.until("web", failed)
        assert "its program was ended by signal 15" in state.instances[0].cause


async def test_after_a_restart_applications_run_without_the_control_plane(start: Any) -> None:
    cloud = FakeCloud({("configuration", "settings", "5"): {"data": {"conf.yml": "greeting: hello\n"}}})
    async with start(cloud) as node:
        node.add("web", "7", {**TELLS, **MOUNTED}, volumes=[CONFIG_VOLUME])
        node.want(web="7")
        await node.until("web", runs)
    async with start(FakeCloud(away=True)) as node:
        await node.until("web", runs)
        told = node.instance("web", "7", "told")
        await until(lambda: told.exists() and "greeting: hello" in told.read_text())
        assert node.cloud.asked == []


async def test_keys_of_a_secret_are_files_that_only_the_owner_reads(start: Any) -> None:
    secret = {"data": {"password": base64.b64encode(b"s3cret").decode()}}
    async with start(FakeCloud({("secret", "login", "2"): secret})) as node:
        volume = {"name": "login", "secret": {"name": "login", "version": "2"}}
        mounts = [{"name": "login", "mountPath": "/run/login"}]
        node.add("web", "1", {**STAYS, "volumeMounts": mounts}, volumes=[volume])
        node.want(web="1")
        await node.until("web", runs)
        path = node.instance("web", "1", "run/login/password")
        assert path.read_bytes() == b"s3cret"
        assert path.stat().st_mode & 0o077 == 0


async def test_a_program_of_a_configuration_is_fetched_unpacked_and_run(start: Any, program_archive: bytes) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=program_archive)

    item = json.dumps({"url": "https://objects.example/program", "unpack": "zip"})
    cloud = FakeCloud({("configuration", "program", "3"): {"data": {"_object_program.zip": item}}})
    async with start(cloud, httpx.MockTransport(answer)) as node:
        volume = {"name": "bin", "config": {"name": "program", "version": "3"}}
        mounts = [{"name": "bin", "mountPath": "/var/lib/baetyl/bin"}]
        node.add("web", "1", {"volumeMounts": mounts, "args": ["one"]}, volumes=[volume])
        node.want(web="1")
        await node.until("web", runs)
        told = node.instance("web", "1", "told")
        await until(lambda: told.exists() and told.read_text() == "started with one\n")


async def test_every_instance_gets_a_dynamic_port_of_its_own_though_none_listens_yet(start: Any) -> None:
    async with start(FakeCloud()) as node:
        tells = {"command": ["sh", "-c", "echo $BAETYL_SERVICE_DYNAMIC_PORT > port; exec sleep 1000"]}
        node.add("web", "1", {**tells, "replica": 3})
        node.want(web="1")
        await node.until("web", runs)
        files = [node.data_dir / "run" / "web" / "1" / "main" / str(number) / "port" for number in range(3)]
        await until(lambda: all(file.exists() and file.read_text().strip() for file in files))
        assert len({int(file.read_text()) for file in files}) == 3


async def test_a_probe_of_what_can_be_no_address_fails_and_harms_nobody_else(start: Any) -> None:
    async with start(FakeCloud()) as node:
        for number, way in enumerate(
            ({"tcpSocket": {"host": "a" * 64, "port": 80}}, {"httpGet": {"path": "/\x00", "port": 80}})
        ):
            probe = {**way, "periodSeconds": 0.05, "failureThreshold": 1, "timeoutSeconds": 30}
            node.add(f"web{number}", "1", {**STAYS, "livenessProbe": probe})
        node.want(web0="1", web1="1")
        for name in ("web0", "web1"):
            state = await node.until(name, failed)
            assert "its program was ended by signal 15" in state.instances[0].cause


async def test_an_archive_that_cannot_be_read_leaves_the_old_version_running_and_says_why(start: Any) -> None:
    damaged = bytearray(gzip.compress(os.urandom(4096)))
    damaged[20:40] = bytes(20)
    wanted = json.dumps({"url": "https://objects.example/code.tgz", "unpack": "tgz"})
    cloud = FakeCloud({("configuration", "settings", "5"): {"data": {"_object_code": wanted}}})
    served = httpx.MockTransport(lambda _: httpx.Response(200, content=bytes(damaged)))
    async with start(cloud, served) as node:
        assert "object code: it can't be unpacked" in await cause_of_a_failed_update(node)


async def test_an_object_whose_name_would_lead_elsewhere_is_not_fetched(start: Any) -> None:
    wanted = json.dumps({"url": "https://objects.example/file"})
    cloud = FakeCloud({("configuration", "settings", "5"): {"data": {"_object_/etc/hostname": wanted}}})
    async with start(cloud) as node:
        node.add("web", "1", {**STAYS, **MOUNTED}, volumes=[CONFIG_VOLUME])
        node.want(web="1")
        assert (await node.until("web", failed)).cause == "'/etc/hostname' can't be the name of a file"
