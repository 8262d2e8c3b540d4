"""Which interpreter the set-up takes (scripts/python.sh)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TOOLS = ("bash", "cp", "dirname", "env", "mkdir", "rm")

#: A stand-in for an interpreter: it says so of itself, and its environments say which one made them.
STAND_IN = """#!{shell}
case $1 in
-c) echo {path} ;;
-m)
  for folder; do :; done
  if [ "$3" = --clear ]; then rm -rf "$folder"; fi
  mkdir -p "$folder/bin"
  cp "$0" "$folder/bin/python"
  ;;
*) {says} ;;
esac
"""


def interpreter(directory: Path, described: str) -> str:
    """Make a stand-in; one that says nothing of itself is of no use."""
    directory.mkdir()
    path = directory / "python3"
    says = f"echo '{described}'" if described else "exit 1"
    path.write_text(STAND_IN.format(shell=shutil.which("sh"), path=path, says=says))
    path.chmod(0o755)
    return str(path)


def set_up(tmp_path: Path, *, python: str = "") -> subprocess.CompletedProcess[str]:
    """Make an environment, with the folders first and second, if there are such, on the PATH."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for tool in TOOLS:
        if not (tools / tool).exists():
            (tools / tool).symlink_to(shutil.which(tool) or tool)
    path = os.pathsep.join(str(tmp_path / folder) for folder in ("venv/bin", "first", "second", "tools"))
    return subprocess.run(
        [str(each) for each in (tools / "bash", SCRIPTS / "python.sh", tmp_path / "venv")],
        env={"PATH": path, "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def maker(tmp_path: Path) -> str:
    """Return which interpreter made the environment."""
    asked = [str(tmp_path / "venv/bin/python"), "-c", ""]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_an_optimized_interpreter_of_the_same_version_is_taken_from_further_back_on_the_path(tmp_path: Path):
    interpreter(tmp_path / "first", "3.11 plain")
    wanted = interpreter(tmp_path / "second", "3.11 optimized")
    assert set_up(tmp_path).returncode == 0
    assert maker(tmp_path) == wanted


@pytest.mark.parametrize("other", ["3.13 optimized", "3.11 optimized", "3.12 plain", ""])
def test_the_first_interpreter_is_taken_where_no_later_one_is_of_its_version_and_better(tmp_path: Path, other: str):
    wanted = interpreter(tmp_path / "first", "3.12 plain")
    interpreter(tmp_path / "second", other)
    assert set_up(tmp_path).returncode == 0
    assert maker(tmp_path) == wanted


def test_an_interpreter_that_can_make_no_environment_is_passed_over(tmp_path: Path):
    interpreter(tmp_path / "first", "")
    wanted = interpreter(tmp_path / "second", "3.11 plain")
    assert set_up(tmp_path).returncode == 0
    assert maker(tmp_path) == wanted


def test_the_interpreter_that_is_named_is_taken(tmp_path: Path):
    wanted = interpreter(tmp_path / "first", "3.11 plain")
    interpreter(tmp_path / "second", "3.11 optimized")
    assert set_up(tmp_path, python=wanted).returncode == 0
    assert maker(tmp_path) == wanted


def test_an_environment_of_another_interpreter_is_made_anew(tmp_path: Path):
    interpreter(tmp_path / "first", "3.11 plain")
    assert set_up(tmp_path).returncode == 0
    left = tmp_path / "venv" / "left"
    left.touch()
    assert set_up(tmp_path).returncode == 0
    assert left.exists()  # the same one: what was installed stays
    wanted = interpreter(tmp_path / "second", "3.11 optimized")
    assert set_up(tmp_path).returncode == 0
    assert maker(tmp_path) == wanted
    assert not left.exists()


@pytest.mark.parametrize("python", ["", "/nowhere/python3"])
def test_without_an_interpreter_the_set_up_says_what_it_needs(tmp_path: Path, python: str):
    done = set_up(tmp_path, python=python)
    assert done.returncode == 1
    assert "Skerry needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_an_interpreter_says_its_version_and_how_it_was_built():
    command = [sys.executable, str(SCRIPTS / "python_build.py")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.fullmatch(rf"{sys.version_info[0]}\.{sys.version_info[1]} (optimized|plain)\n", told)
