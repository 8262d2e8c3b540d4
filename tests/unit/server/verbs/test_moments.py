"""What is shared of a change among its watchers, and how much of it is kept."""

import tracemalloc
from typing import Any

import orjson
import pytest

from skerry.api.core_v1 import CONFIG_MAP, SECRET
from skerry.api.selectors import parse_field_selector, parse_label_selector
from skerry.server.verbs import moments as module
from skerry.server.verbs.moments import Moment, Moments, SharedState
from skerry.server.verbs.requests import Selection
from skerry.store.records import Event, Key

MIB = 1024 * 1024


def event(revision: int, value: bytes, previous: bytes | None = None) -> Event:
    return Event("put", Key("configmaps", "d", "a"), revision, previous is None, value, previous)


def config(size_bytes: int = 0) -> bytes:
    metadata = {"name": "a", "namespace": "d", "labels": {"tier": "edge"}}
    return orjson.dumps({"metadata": metadata, "data": {"k": "v" * size_bytes}, "type": "Opaque"})


def state(moment: Moment) -> Any:
    assert moment.current is not None
    return moment.current


def test_remembered_moments_are_bounded_in_bytes_of_states_and_of_what_is_encoded_later() -> None:
    moments, first, second = Moments(), event(1, config(7 * MIB)), event(2, config(7 * MIB))
    kept = moments.of(first)
    moments.of(second)
    assert moments.of(first) is kept
    moments.of(second).keep("form", b"x" * 3 * MIB)
    assert moments.of(first) is not kept


def test_an_encoding_of_a_forgotten_moment_counts_for_nothing() -> None:
    moments, second = Moments(), event(2, config(9 * MIB))
    forgotten = moments.of(event(1, config(9 * MIB)))
    kept = moments.of(second)
    forgotten.keep("form", b"x" * 15 * MIB)
    moments.of(event(3, config()))
    assert moments.of(second) is kept


def test_the_newest_change_is_shared_however_large_it_is() -> None:
    moments, large = Moments(), event(1, config(17 * MIB))
    assert moments.of(large) is moments.of(large)
    assert state(moments.of(large)).document is state(moments.of(large)).document


def test_only_the_newest_changes_keep_their_parsed_objects() -> None:
    moments = Moments()
    old = moments.of(event(1, config(1000)))
    assert state(old).document is state(old).document
    new = moments.of(event(2, config(MIB)))
    assert state(old).document == state(old).document
    assert state(old).document is not state(old).document
    assert state(new).document is state(new).document


def test_selections_look_at_an_old_change_without_parsing_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = Moments()
    old = moments.of(event(1, config()))
    moments.of(event(2, config(MIB)))
    for labels, fields, selected in (
        ("tier=edge", "", True),
        ("tier=cloud", "", False),
        ("", "metadata.namespace=d", True),
        ("", "type=Opaque", True),
        ("", "type=other", False),
    ):
        selection = Selection(parse_label_selector(labels), parse_field_selector(fields))
        assert selection.matches(SECRET, state(old)) is selected
        with monkeypatch.context() as patched:
            patched.setattr(SharedState, "fresh_document", lambda _self: pytest.fail("parsed again"))
            assert selection.matches(SECRET, state(old)) is selected


def _node(number: int) -> bytes:
    """Write an object of 2.5 kB as nodes of a fleet are: many short fields."""
    names = [{"name": f"app-{number}-{i}", "version": f"{i}{number}", "state": "Running"} for i in range(35)]
    metadata = {"name": f"node-{number}", "namespace": "d", "labels": {"zone": f"z{number}"}}
    return b"%b" % orjson.dumps({"metadata": metadata, "status": {"apps": names}})


def test_what_all_remembered_changes_take_is_about_what_is_promised() -> None:
    selection, moments = Selection(parse_label_selector("zone=z1")), Moments()
    tracemalloc.start()
    try:
        for number in range(1, 1200):
            moment = moments.of(event(number, _node(number), _node(number - 1)))
            for seen in (moment.current, moment.previous):
                assert seen is not None
                selection.matches(CONFIG_MAP, seen)
            for form in ("object", "table"):
                moment.keep(form, bytes(2500))
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert module.MOMENTS_BYTES_MAX / 2 < held_bytes < 23 * MIB
