"""What every store of functions' keys and values promises: the file of a node, and the database that nodes share."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.engine import key_value_file, key_values, kv_server
from skerry.engine.key_value_file import KeyValueStore
from skerry.engine.key_values import (
    KEY_BYTES_MAX,
    LIST_KEYS_MAX,
    METADATA_BYTES_MAX,
    VALUE_BYTES_MAX,
    KeyValueError,
    KeyValues,
    Listed,
    Value,
)
from skerry.engine.shared_key_values import SharedKeyValues
from skerry.kit.clock import SystemClock
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.shared_kv import shared_kv

CLOCK = SystemClock()
#: How long what has expired may take to be gone, on a busy machine.
STATE_SECONDS_MAX = 60.0


@pytest.fixture
def shared(tmp_path: Path, postgres: PostgresProcess) -> Iterator[Callable[[], SharedKeyValues]]:
    """How a worker of either of two nodes has the store."""
    url, sockets = postgres.create_schema(), [tmp_path / "a.sock", tmp_path / "b.sock"]
    opened: list[SharedKeyValues] = []

    def of_a_worker() -> SharedKeyValues:
        opened.append(SharedKeyValues(sockets[len(opened) % 2], CLOCK))
        return opened[-1]

    with shared_kv(url, sockets[0]), shared_kv(url, sockets[1]):
        yield of_a_worker
        for store in opened:
            store.close()


@pytest.fixture(params=["file", "shared"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValues]:
    if request.param == "shared":
        yield request.getfixturevalue("shared")()
        return
    store = KeyValueStore(tmp_path / "kv" / "kv.db", CLOCK)
    yield store
    store.close()


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(entries=st.dictionaries(KEYS, st.binary(max_size=50)), prefix=st.text("ab\u00e9\U0010ffff", max_size=2))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_pages_of_keys_add_up_to_what_was_put_in_order(store: KeyValues, entries: dict[str, bytes], prefix: str):
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


def test_a_value_has_its_metadata_and_is_replaced_with_it(store: KeyValues):
    store.put("f", "k", Value(b"before", '{"by":"me"}'), store.now_seconds() + 3_600)
    assert store.get("f", "k") == Value(b"before", '{"by":"me"}')
    (listed,) = store.list("f")
    assert (listed.key, listed.metadata) == ("k", '{"by":"me"}')
    assert listed.expires is not None
    store.put("f", "k", Value(b"", None))
    assert store.get("f", "k") == Value(b"", None)
    assert store.list("f") == [Listed("k", None, None)]


def test_what_was_deleted_is_gone_and_deleting_nothing_is_no_error(store: KeyValues):
    store.put("f", "k", Value(b"v", None))
    store.delete("f", "k")
    store.delete("f", "k")
    assert store.get("f", "k") is None
    assert store.list("f") == []


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline


def is_put(store: KeyValues, key: str, *, expires: float | None = None) -> bool:
    try:
        store.put("f", key, Value(b"x" * 90, None), expires)
    except KeyValueError:
        return False
    return True


def test_an_entry_ends_when_it_expires_and_leaves_its_room(store: KeyValues, monkeypatch: pytest.MonkeyPatch):
    for module in (key_values, key_value_file, kv_server):
        monkeypatch.setattr(module, "NAMESPACE_BYTES_MAX", 100)

    # Where it takes so long to get there, the time lies in the past already.
    until(lambda: is_put(store, "ends", expires=store.now_seconds() + 0.2))
    until(lambda: store.get("f", "ends") is None and not store.list("f"))
    store.sweep()
    until(lambda: is_put(store, "other"))  # where nodes share it, one of them sweeps


def test_the_largest_entries_are_kept_and_larger_ones_refused(store: KeyValues):
    largest, metadata, key = b"x" * VALUE_BYTES_MAX, "9" * METADATA_BYTES_MAX, "k" * KEY_BYTES_MAX
    store.put("f", key, Value(largest, metadata))
    assert store.get("f", key) == Value(largest, metadata)
    for name, stored, told in (
        ("k", Value(largest + b"x", None), "a value may have"),
        ("k", Value(b"", metadata + "9"), "metadata may have"),
        (key + "k", Value(b"", None), "a key must have 1 to"),
        ("", Value(b"", None), "a key must have 1 to"),
    ):
        with pytest.raises(KeyValueError, match=told):
            store.put("f", name, stored)
    with pytest.raises(KeyValueError, match="lies in the past"):
        store.put("f", "k", Value(b"", None), store.now_seconds() - 1)
    with pytest.raises(KeyValueError, match="limit: must be from 1"):
        store.list("f", limit=LIST_KEYS_MAX + 1)
    assert [entry.key for entry in store.list("f")] == [key]


def test_a_namespace_is_bounded_and_has_room_again_after_a_delete(store: KeyValues, monkeypatch: pytest.MonkeyPatch):
    for module in (key_values, key_value_file, kv_server):
        monkeypatch.setattr(module, "NAMESPACE_BYTES_MAX", 100)
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


def test_what_one_node_was_told_is_done_every_other_one_reads(shared: Callable[[], SharedKeyValues]):
    one, other = shared(), shared()
    for number in range(20):
        one.put("f", "k", Value(b"%d" % number, None))
        assert other.get("f", "k") == Value(b"%d" % number, None)
    other.delete("f", "k")
    assert one.get("f", "k") is None


def test_a_worker_whose_node_is_gone_says_so_and_goes_on_with_the_next(tmp_path: Path, postgres: PostgresProcess):
    url, path = postgres.create_schema(), tmp_path / "kv.sock"
    store = SharedKeyValues(path, CLOCK)
    with pytest.raises(KeyValueError, match="can't be reached"):
        store.get("f", "k")
    for turn in range(2):
        with shared_kv(url, path):
            store.put("f", f"{turn}", Value(b"v", None))
            assert len(store.list("f")) == turn + 1
    with pytest.raises(KeyValueError, match="can't be reached"):
        store.get("f", "k")
    store.close()


def test_a_node_that_does_not_answer_is_waited_for_no_longer_than_asked(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "kv.sock"))
        silent.listen()
        store = SharedKeyValues(tmp_path / "kv.sock", CLOCK)
        with pytest.raises(KeyValueError, match="too slow|timed out"):
            store.get("f", "k", wait_seconds=0.1)
        store.close()
