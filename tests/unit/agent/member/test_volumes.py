"""Files that applications mount: made anew, but for containers, which may go on while the agent is away."""

from pathlib import Path

import pytest

from skerry.agent.member.documents import Application
from skerry.agent.member.users import ProgramUsers
from skerry.agent.member.volumes import Files, Volumes

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
