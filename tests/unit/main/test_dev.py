from pathlib import Path

import pytest

from skerry.main.configuration import Settings
from skerry.main.dev import engine_cache


def test_every_folder_that_is_developed_uses_one_compiled_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    of_one, of_another = (engine_cache(Settings(data_dir=tmp_path / name)) for name in ("one", "other"))
    assert of_one == of_another == tmp_path / ".cache" / "skerry" / "engine"
    assert engine_cache(Settings(cache_dir=tmp_path / "mine")) == tmp_path / "mine" / "engine"
