import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.engine import key_values
from skerry.engine.key_value_file import KeyValueStore
from skerry.engine.key_values import KeyValueError, Value
from skerry.kit.clock import SystemClock
from skerry.kit.errors import StartError

#: How long a writer waits that is to be there for as long as the test takes.
PATIENT_SECONDS = 120.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyValueStore]:
    store = KeyValueStore(tmp_path / "kv" / "kv.db", SystemClock())
    yield store
    store.close()


WRITER = """
import sys
from pathlib import Path
from skerry.engine.key_value_file import KeyValueStore
from skerry.engine.key_values import KeyValueError, Value
from skerry.kit.clock import SystemClock

store = KeyValueStore(Path(sys.argv[1]), SystemClock())
for number in range(50):
    while True:
        try:
            store.put("f", f"{sys.argv[2]}-{number}", Value(b"v", None))
            break
        except KeyValueError:  # busy with the others' writes, on a slow disk
            continue
"""


def test_processes_share_a_store_and_lose_nothing(tmp_path: Path):
    path = tmp_path / "kv.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, f"w{number}"]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = KeyValueStore(path, SystemClock())
    assert len(store.list("f")) == 150
    store.close()


def test_a_writer_waits_for_others_no_longer_than_it_may(
    store: KeyValueStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(key_values, "BUSY_SECONDS_MAX", PATIENT_SECONDS)
    other = sqlite3.connect(tmp_path / "kv" / "kv.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(KeyValueError, match="busy with other writes: try again"):
        store.put("f", "a", Value(b"v", None), wait_seconds=0.01)
    with pytest.raises(KeyValueError, match="busy with other writes: try again"):
        store.delete("f", "a", wait_seconds=-1.0)
    waiting = threading.Thread(target=lambda: store.put("f", "b", Value(b"v", None), wait_seconds=PATIENT_SECONDS))
    waiting.start()  # holds the turn of this process while it waits for the other one
    with pytest.raises(KeyValueError, match="busy with other writes"):
        store.put("f", "a", Value(b"v", None), wait_seconds=0.01)
    other.execute("ROLLBACK")
    waiting.join()
    other.close()
    assert store.get("f", "b") == Value(b"v", None)


def test_a_file_that_is_no_store_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "kv.db").write_bytes(b"something else, and long enough to be read as a header" * 100)
    with pytest.raises(StartError, match="kv.db can't be used"):
        KeyValueStore(tmp_path / "kv.db", SystemClock())


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path, store: KeyValueStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_values, "BUSY_SECONDS_MAX", PATIENT_SECONDS)
    store.put("f", "k", Value(b"before", None))
    other = sqlite3.connect(tmp_path / "kv" / "kv.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the store's own writer waits for this one
    writing = threading.Thread(target=lambda: store.put("f", "k", Value(b"after", None), wait_seconds=PATIENT_SECONDS))
    writing.start()
    assert store.get("f", "k") == Value(b"before", None)
    assert writing.is_alive()
    other.execute("ROLLBACK")
    other.close()
    writing.join()
    assert store.get("f", "k") == Value(b"after", None)
