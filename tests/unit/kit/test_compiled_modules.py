"""Compiled modules are those of the sources as they are, or none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.kit import compiled_modules
from skerry.kit.compiled_modules import FOLDER, LIST, are_current, digests, look_there_first


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the folder of a package with two modules that were compiled."""
    folder = tmp_path / "engine"
    folder.mkdir()
    monkeypatch.setattr(compiled_modules, "FOLDER", tmp_path / "_compiled")
    sources = [folder / "one.py", folder / "two.py"]
    for source in sources:
        source.write_text("A = 1")
    (tmp_path / "_compiled").mkdir()
    (tmp_path / "_compiled" / LIST).write_text(json.dumps(digests(sources)))
    yield folder
    are_current.cache_clear()


def places(package: Path) -> list[str]:
    are_current.cache_clear()  # as in a process that starts now
    path = [str(package)]
    look_there_first("skerry.engine", path)
    return path


def test_compiled_modules_are_looked_for_before_their_sources(package: Path):
    assert places(package) == [str(package.parent / "_compiled" / "engine"), str(package)]


def test_an_edit_of_one_source_has_all_of_them_interpreted(package: Path):
    (package / "two.py").write_text("A = 2")
    assert places(package) == [str(package)]
    (package / "two.py").write_text("A = 1")
    assert len(places(package)) == 2


def test_a_source_that_is_gone_has_the_others_interpreted(package: Path):
    (package / "one.py").unlink()
    assert places(package) == [str(package)]


@pytest.mark.parametrize("listed", ["", "[", "[]", '{"engine/one.py": 1}'])
def test_a_list_that_is_damaged_is_none(package: Path, listed: str):
    (package.parent / "_compiled" / LIST).write_text(listed)
    assert places(package) == [str(package)]


@pytest.mark.skipif(not are_current(), reason="nothing was compiled: `make compiled`")
def test_a_worker_runs_what_was_compiled():
    names = ("skerry.engine.loop", "skerry.engine.upstream.pool")
    script = f"import importlib\nfor name in {names}: print(importlib.import_module(name).__spec__.origin)"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent.parent)}
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert [Path(place).is_relative_to(FOLDER) for place in told.stdout.split()] == [True, True]
