import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.engine import key_values
from skerry.engine.key_values import KeyValueError, KeyValueStore, Value
from skerry.kit.clock import SystemClock
from skerry.kit.errors import StartError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyValueStore]:
    store = KeyValueStore(tmp_path / "kv" / "kv.db", SystemClock())
    yield store
    store.close()


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(entries=st.dictionaries(KEYS, st.binary(max_size=50)), prefix=st.text("ab\u00e9\U0010ffff", max_size=2))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_pages_of_keys_add_up_to_what_was_put_in_order(store: KeyValueStore, entries: dict[str, bytes], prefix: str):
    for entry in store.list("f"):
        store.delete("f", entry.key)
    for key, value in entries.items():
        store.put("f", key, Value(value, None))
        store.put("other", key, Value(b"other's", None))
    listed, after = [], ""
    while page := store.list("f", prefix=prefix, after=after, limit=3):
        listed += [entry.key for entry in page]
        after = page[-1].key
    assert listed == sorted((key for key in entries if key.startswith(prefix)), key=str.encode)
    assert {key: store.get("f", key) for key in entries} == {key: Value(v, None) for key, v in entries.items()}


WRITER = """
import sys
from pathlib import Path
from skerry.engine.key_values import KeyValueStore, Value
from skerry.kit.clock import SystemClock

store = KeyValueStore(Path(sys.argv[1]), SystemClock())
for number in range(50):
    store.put("f", f"{sys.argv[2]}-{number}", Value(b"v", None))
"""


def test_processes_share_a_store_and_lose_nothing(tmp_path: Path):
    path = tmp_path / "kv.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, f"w{number}"]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = KeyValueStore(path, SystemClock())
    assert len(store.list("f")) == 150
    store.close()


def test_a_writer_waits_for_others_no_longer_than_it_may(store: KeyValueStore, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "kv" / "kv.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(KeyValueError, match="busy with other writes: try again"):
        store.put("f", "a", Value(b"v", None), wait_seconds=0.01)
    with pytest.raises(KeyValueError, match="busy with other writes: try again"):
        store.delete("f", "a", wait_seconds=-1.0)
    waiting = threading.Thread(target=lambda: store.put("f", "b", Value(b"v", None)))
    waiting.start()  # holds the turn of this process while it waits for the other one
    with pytest.raises(KeyValueError, match="busy with other writes"):
        store.put("f", "a", Value(b"v", None), wait_seconds=0.01)
    other.execute("ROLLBACK")
    waiting.join()
    other.close()
    assert store.get("f", "b") == Value(b"v", None)


def test_a_namespace_is_bounded_and_has_room_again_after_a_delete(
    store: KeyValueStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(key_values, "NAMESPACE_BYTES_MAX", 100)
    store.put("f", "a", Value(b"x" * 90, None))
    store.put("f", "a", Value(b"y" * 95, None))  # in the other's place
    with pytest.raises(KeyValueError, match="may keep 100 bytes, and this would be 107"):
        store.put("f", "b", Value(b"x" * 10, None))
    store.put("g", "b", Value(b"x" * 10, None))
    store.delete("f", "a")
    with pytest.raises(KeyValueError, match="may keep 100 bytes"):
        store.put("f", "b", Value(b"x" * 10, "9" * 90))  # metadata counts
    store.put("f", "b", Value(b"x" * 10, None))
    assert store.get("f", "a") is None


def test_a_file_that_is_no_store_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "kv.db").write_bytes(b"something else, and long enough to be read as a header" * 100)
    with pytest.raises(StartError, match="kv.db can't be used"):
        KeyValueStore(tmp_path / "kv.db", SystemClock())


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path, store: KeyValueStore):
    store.put("f", "k", Value(b"before", None))
    other = sqlite3.connect(tmp_path / "kv" / "kv.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the store's own writer waits for this one
    writing = threading.Thread(target=lambda: store.put("f", "k", Value(b"after", None)))
    writing.start()
    assert store.get("f", "k") == Value(b"before", None)
    assert writing.is_alive()
    other.execute("ROLLBACK")
    other.close()
    writing.join()
    assert store.get("f", "k") == Value(b"after", None)
