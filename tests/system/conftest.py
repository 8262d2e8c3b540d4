"""System tests drive real processes: `skerry up`, Envoy, engine workers, kubectl."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.testing.skerry_process import ANY_FILE, SkerryProcess

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """The compiled engine, shared by all: compiling it takes longer than most tests."""
    return ROOT / ".cache"


@pytest.fixture(scope="module")
def skerry(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[SkerryProcess]:
    """One Skerry for the tests of a module, which use names of their own."""
    data_dir = tmp_path_factory.mktemp("skerry") / "data"
    with SkerryProcess.started(data_dir, cache_dir=cache_dir, settings=ANY_FILE) as running:
        yield running
