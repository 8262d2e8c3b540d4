"""Users that programs of a node run as, and what they may use: real processes, of root's agent."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.limits import FILES_MAX, PROCESSES_MAX
from skerry.agent.member.states import ApplicationState
from skerry.agent.member.users import ProgramUsers, UserRange
from skerry.kit.errors import ConfigurationError
from skerry.testing.member_node import FakeCloud, member_node, until
from skerry.testing.passable import passable_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have programs run as other users")

USERS = UserRange(71_000, 3)
SECRET = {"data": {"password": base64.b64encode(b"s3cret").decode()}}
TELLS = ["sh", "-c", "id -u > told; id -G >> told; cat run/login/password >> told; exec sleep 1000"]


@pytest.fixture
def passable() -> Iterator[Path]:
    """A data directory that other users can come to."""
    with passable_folder() as folder:
        data = folder / "data"
        data.mkdir()
        yield data


#: As the kernel writes them.
BOUNDS = ("Max data size", "Max processes", "Max open files", "Cpus_allowed_list:")


def runs(state: ApplicationState) -> bool:
    return state.status == "Running"


def secret_of(name: str) -> dict[str, Any]:
    return {
        "volumes": [{"name": "login", "secret": {"name": name, "version": "1"}}],
        "mode": "native",
    }


async def test_each_application_has_a_user_of_its_own_that_has_its_files_and_no_others(passable: Path) -> None:
    cloud = FakeCloud({("secret", name, "1"): SECRET for name in ("one", "two")})
    async with member_node(passable, cloud, users=USERS) as node:
        mounts = [{"name": "login", "mountPath": "/run/login"}]
        node.add("one", "1", {"command": TELLS, "volumeMounts": mounts}, **secret_of("one"))
        theirs = passable / "volumes" / "one" / "1" / "login" / "password"
        spies = ["sh", "-c", f"id -u > told; cat {theirs} >> told 2>&1 || echo refused >> told; exec sleep 1000"]
        node.add("two", "1", {"command": spies, "volumeMounts": mounts}, **secret_of("two"))
        node.want(one="1", two="1")
        for name in ("one", "two"):
            await node.until(name, runs)
        one, two = (node.instance(name, "1", "told") for name in ("one", "two"))
        await until(lambda: one.exists() and "s3cret" in one.read_text())
        await until(lambda: two.exists() and "refused" in two.read_text())
        users = {int(path.read_text().split()[0]) for path in (one, two)}
        assert len(users) == 2
        assert users <= set(range(USERS.first, USERS.first + USERS.count))
        assert one.read_text().splitlines()[1] == str(USERS.first), "its group is the programs' alone"
        assert "s3cret" not in two.read_text()


async def test_programs_share_a_folder_of_the_machine_and_no_link_in_it_leads_out(passable: Path) -> None:
    volumes = [{"name": "shared", "hostPath": {"path": "shared"}}]
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    async with member_node(passable, FakeCloud(), users=USERS) as node:
        for name in ("one", "two"):
            service = {"command": ["sh", "-c", f"umask 007; touch shared/{name}; exec sleep 1000"]}
            node.add(name, "1", {**service, "volumeMounts": mounts}, volumes=volumes)
        node.want(one="1", two="1")
        shared = passable / "host" / "shared"
        await until(lambda: {path.name for path in shared.glob("*")} == {"one", "two"})
        (shared / "out").symlink_to("/etc")
        led = [{"name": "shared", "hostPath": {"path": "shared/out"}}]
        node.add("led", "1", {"command": ["true"], "volumeMounts": mounts}, volumes=led)
        node.want(led="1")
        state = await node.until("led", lambda state: state.status == "Failed")
        assert "'shared/out' leads out of the folder that it is to be in" in state.cause


async def test_a_program_has_the_processors_the_memory_and_the_files_of_its_limits(passable: Path) -> None:
    async with member_node(passable, FakeCloud(), users=USERS) as node:
        script = "cat /proc/self/limits /proc/self/status > told; echo all >> told; exec sleep 1000"
        limits = {"resources": {"limits": {"cpu": "500m", "memory": "256Mi"}}}
        node.add("web", "1", {"command": ["sh", "-c", script], **limits})
        node.want(web="1")
        told = node.instance("web", "1", "told")
        await until(lambda: told.exists() and told.read_text().endswith("all\n"))
        values = {
            name: line.removeprefix(name).split()[0]
            for line in told.read_text().splitlines()
            for name in BOUNDS
            if line.startswith(name)
        }
        assert values["Max data size"] == str(256 * 1024**2)
        assert int(values["Max processes"]) <= PROCESSES_MAX
        assert int(values["Max open files"]) <= FILES_MAX
        assert values["Cpus_allowed_list:"].isdigit(), "half of a core is one"


def test_users_are_kept_over_restarts_and_taken_back_with_the_files(passable: Path) -> None:
    users = ProgramUsers(passable, USERS)
    given = {name: users.of(name) for name in ("a", "b", "c")}
    with pytest.raises(ApplicationError, match="all 3 users for programs are taken"):
        users.of("d")
    again = ProgramUsers(passable, USERS)
    assert {name: again.of(name) for name in given} == given
    again.forget("b")
    assert again.of("d") == given["b"]


def test_a_data_directory_that_other_users_can_not_come_to_is_told_with_what_to_do(passable: Path) -> None:
    closed = passable / "closed"
    closed.mkdir()
    passable.chmod(0o700)
    with pytest.raises(ConfigurationError, match=r"programUsers: .*closed.*chmod o\+x"):
        ProgramUsers(closed, USERS)
