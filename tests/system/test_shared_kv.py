"""A node on PostgreSQL: what functions keep is in the database, where every other node finds it."""

from pathlib import Path

import pytest

from skerry.engine.key_values import Value
from skerry.engine.shared_key_values import SharedKeyValues
from skerry.kit.clock import SystemClock
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.shared_kv import shared_kv
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system


def test_what_a_function_keeps_another_node_of_the_database_has(
    tmp_path: Path, cache_dir: Path, repository: Path, postgres: PostgresProcess
):
    url, data_dir = postgres.create_schema(), tmp_path / "data"
    with SkerryProcess.started(data_dir, "--database", url, "--workers", "1", cache_dir=cache_dir) as skerry:
        skerry.kubectl("apply", "-f", str(repository / "examples" / "counter"))
        skerry.until_ready("edgefunction/counter")
        with shared_kv(url, tmp_path / "kv.sock"):
            other = SharedKeyValues(tmp_path / "kv.sock", SystemClock())
            assert skerry.get("http://counter.functions.localhost/").text == "1\n"
            assert other.get("counter", "/") == Value(b"1", None)
            other.put("counter", "/", Value(b"41", None))
            assert skerry.get("http://counter.functions.localhost/").text == "42\n"
            other.close()
    assert not (data_dir / "kv").exists()
