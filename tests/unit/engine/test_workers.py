from pathlib import Path

import pytest

from skerry.engine.workers import WorkerSettings, run_workers
from skerry.kit.errors import ConfigurationError, StartError


def settings(run_dir: Path, **changed: object) -> WorkerSettings:
    given: dict[str, object] = {
        "run_dir": run_dir,
        "functions_dir": run_dir,
        "logs_dir": run_dir,
        "kv_file": run_dir / "kv.db",
        "engine_cache": run_dir,
        "component": run_dir / "none.wasm",
        **changed,
    }
    return WorkerSettings(**given)  # type: ignore[arg-type]


def test_a_socket_path_that_the_system_cannot_take_is_refused_with_the_fix():
    with pytest.raises(ConfigurationError, match="choose a shorter data directory"):
        settings(Path("/" + "long/" * 30))


def test_no_workers_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="count"):
        settings(tmp_path, count=0)


def test_workers_that_could_not_hold_one_function_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="memory_bytes_max must be at least 134217728"):
        settings(tmp_path, memory_bytes_max=(128 << 20) - 1)


async def test_a_missing_engine_is_told_before_anything_starts(tmp_path: Path):
    with pytest.raises(StartError, match="make setup"):
        async with run_workers(settings(tmp_path / "run")):
            pass
    assert not (tmp_path / "run").exists()
