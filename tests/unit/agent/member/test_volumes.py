"""Files that applications mount: made anew, but for containers, which may go on while the agent is away."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from skerry.agent.member.documents import Application, read_application
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.held_places import give
from skerry.agent.member.instances import Instance
from skerry.agent.member.staging import reference_of
from skerry.agent.member.users import ProgramUsers, User
from skerry.agent.member.volumes import Files, Mounted, Volumes
from skerry.api.baetyl_application_services import Volume

VOLUMES = [{"name": "conf", "config": {"name": "settings", "version": "5"}}]
FILES = Files({"conf": {"a": b"1"}}, {})


def application(mode: str) -> Application:
    return Application.model_validate({"name": "web", "version": "7", "mode": mode, "volumes": VOLUMES}, by_alias=True)


def opened(directory: Path) -> Volumes:
    """Return what an agent has that begins."""
    return Volumes(directory, ProgramUsers(directory, None))


@pytest.mark.parametrize("mode", ["kube", "native"])
def test_files_stay_under_containers_and_under_nothing_else(tmp_path: Path, mode: str) -> None:
    app = application(mode)
    opened(tmp_path).lay_out(app, FILES)
    before, file = opened(tmp_path).layout(app), tmp_path / "volumes" / "web" / "7" / "conf" / "a"
    node = file.stat().st_ino
    with file.open() as held:  # so that its number is not given to the next one
        opened(tmp_path).lay_out(app, FILES)
        assert held.read() == file.read_text() == "1"
        assert (file.stat().st_ino == node, opened(tmp_path).layout(app) == before) == (
            mode == "kube",
            mode == "kube",
        )


def test_files_that_a_machine_had_before_its_start_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application("kube")
    opened(tmp_path).lay_out(app, FILES)
    (tmp_path / "volumes" / "web" / "7" / "conf" / "a").write_text("")  # as a loss of power leaves it
    monkeypatch.setattr("skerry.agent.member.volumes._boot", lambda: "another")
    assert opened(tmp_path).layout(app) == ""
    opened(tmp_path).lay_out(app, FILES)
    assert (tmp_path / "volumes" / "web" / "7" / "conf" / "a").read_text() == "1"
    assert opened(tmp_path).layout(app)


def mounting(mount: dict[str, str], volume: dict[str, object]) -> Application:
    service = {"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/data", **mount}]}
    told = {"name": "web", "version": "7", "mode": "native", "volumes": [{"name": "data", **volume}]}
    return Application.model_validate({**told, "services": [service]}, by_alias=True)


@pytest.mark.parametrize(
    ("path", "sub_path"), [("shared", "out"), ("shared", "out/below"), ("shared/out", ""), ("{tmp}/host/shared", "out")]
)
def test_a_link_that_a_program_put_into_a_shared_folder_leads_nobody_out_of_it(
    tmp_path: Path, path: str, sub_path: str
) -> None:
    (tmp_path / "host" / "shared").mkdir(parents=True)
    (tmp_path / "secret" / "below").mkdir(parents=True)
    (tmp_path / "host" / "shared" / "out").symlink_to(tmp_path / "secret")
    app = mounting({"subPath": sub_path}, {"hostPath": {"path": path.format(tmp=tmp_path)}})
    with pytest.raises(ApplicationError, match="leads out of the folder"):
        opened(tmp_path).mounts(Instance(app, app.services[0], 0))


class OneUser(ProgramUsers):
    """Gives every application the user of this process, so that anybody may run the test."""

    def of(self, _: str) -> User:
        return os.getuid(), os.getgid()


@pytest.mark.parametrize("part", ["shared", "shared/out", "shared/out/below"])
def test_a_link_that_is_put_there_between_look_and_use_changes_nothing_outside(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "secret"
    for folder in (outside, outside / "out", outside / "out" / "below", tmp_path / "node"):
        folder.mkdir(mode=0o700)
    app = mounting({}, {"hostPath": {"path": "shared/out/below"}})
    volumes = Volumes(tmp_path / "node", OneUser(tmp_path / "node", None))
    volumes.lay_out(app, Files({}, {}))
    looked = volumes.mounts

    def looked_at_and_replaced(instance: Instance) -> list[Mounted]:
        found = looked(instance)
        place = tmp_path / "node" / "host" / part
        shutil.rmtree(place)
        place.symlink_to(outside / place.relative_to(tmp_path / "node" / "host" / "shared"))
        return found

    monkeypatch.setattr(volumes, "mounts", looked_at_and_replaced)
    with pytest.raises(ApplicationError, match="has become a link"):
        volumes.instance_folder(Instance(app, app.services[0], 0))
    assert {folder.stat().st_mode & 0o7777 for folder in (outside, *outside.rglob("*"))} == {0o700}


def test_a_folder_that_becomes_a_link_while_it_is_given_away_gives_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "mine" / "folder", tmp_path / "secret"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("")
    given: list[int] = []
    chown = os.chown

    def changed(path: str | int, *user: int, **how: Any) -> None:
        given.append(os.stat(path, **how).st_ino)  # noqa: PTH116 - it may be a descriptor
        chown(path, *user, **how)
        if given[-1] == number:
            inside.rename(tmp_path / "away")
            inside.symlink_to(outside)

    number = inside.stat().st_ino
    monkeypatch.setattr(os, "chown", changed)
    give(tmp_path / "mine", (os.getuid(), os.getgid()))
    assert (tmp_path / "away" / "file").stat().st_ino in given
    assert (outside / "file").stat().st_ino not in given


def test_a_folder_of_the_machine_is_made_with_those_above_it_and_a_link_within_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "host" / "shared" / "v1").mkdir(parents=True)
    (tmp_path / "host" / "shared" / "current").symlink_to("v1")
    for path, place in (("new/below", "new/below"), ("shared/current/logs", "shared/v1/logs")):
        app = mounting({}, {"hostPath": {"path": path}})
        [mounted] = opened(tmp_path).mounts(Instance(app, app.services[0], 0))
        assert mounted.source == tmp_path / "host" / place
        assert mounted.source.is_dir()


@pytest.mark.parametrize("name", ["../../out", "/out", "a/b", ".."])
def test_an_application_whose_names_would_lead_elsewhere_is_refused(name: str) -> None:
    told = {"name": "web", "version": "7"}
    for part in ("services", "initServices", "volumes"):
        with pytest.raises(ApplicationError, match="can't be a name"):
            read_application({**told, part: [{"name": name}]})
    with pytest.raises(ApplicationError, match="volume data: .* can't be a name"):
        reference_of(Volume.model_validate({"name": "data", "config": {"name": name, "version": "1"}}, by_alias=True))
