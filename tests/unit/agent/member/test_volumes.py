"""Files that applications mount: made anew, but for containers, which may go on while the agent is away."""

from pathlib import Path

import pytest

from skerry.agent.member.documents import Application, read_application
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.instances import Instance
from skerry.agent.member.staging import reference_of
from skerry.agent.member.users import ProgramUsers
from skerry.agent.member.volumes import Files, Volumes
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


@pytest.mark.parametrize("name", ["../../out", "/out", "a/b", ".."])
def test_an_application_whose_names_would_lead_elsewhere_is_refused(name: str) -> None:
    told = {"name": "web", "version": "7"}
    for part in ("services", "initServices", "volumes"):
        with pytest.raises(ApplicationError, match="can't be a name"):
            read_application({**told, part: [{"name": name}]})
    with pytest.raises(ApplicationError, match="volume data: .* can't be a name"):
        reference_of(Volume.model_validate({"name": "data", "config": {"name": name, "version": "1"}}, by_alias=True))
