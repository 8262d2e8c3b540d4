from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.kit.immutable_map import ImmutableMap

#: Few enough keys that they meet in leaves: two of those that differ by the number of leaves share one.
KEYS = st.sampled_from([0, 1, 256, 257, 512, "a", ("b", "c")])
ENTRIES = st.dictionaries(KEYS, st.integers(0, 3))


class Watched:
    """A value that counts how often it was compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        type(self).compared += 1
        return isinstance(other, Watched)

    __hash__ = None  # type: ignore[assignment]


@given(ENTRIES)
def test_it_is_the_mapping_that_it_was_made_of(entries: dict[Any, int]) -> None:
    made = ImmutableMap(entries)
    assert made == entries
    assert dict(made) == dict(made.items()) == entries
    assert sorted(made.values()) == sorted(entries.values())
    assert (len(made), bool(made)) == (len(entries), bool(entries))
    assert all(made[key] == made.get(key) == value and key in made for key, value in entries.items())
    assert (made.get("missing"), made.get("missing", 1), "missing" in made) == (None, 1, False)


@given(ENTRIES, ENTRIES, st.sets(KEYS))
def test_a_changed_copy_is_as_a_changed_dict_and_the_original_stays(
    entries: dict[Any, int], present: dict[Any, int], gone: set[Any]
) -> None:
    before = ImmutableMap(entries)
    after = before.with_changes(present, gone)
    expected = {key: value for key, value in entries.items() if key not in gone} | present
    assert after == expected
    assert len(after) == len(expected)
    assert before == entries
    assert (after is before) == (expected == entries)
    changes = after.changes_since(before)
    assert before.with_changes(changes.present, changes.gone) == after
    assert changes.keys == {key for key in entries.keys() | expected.keys() if entries.get(key) != expected.get(key)}


@given(ENTRIES, ENTRIES)
def test_changes_are_found_between_maps_that_share_nothing(one: dict[Any, int], other: dict[Any, int]) -> None:
    changes = ImmutableMap(other).changes_since(ImmutableMap(one))
    assert ImmutableMap(one).with_changes(changes.present, changes.gone) == other
    assert (ImmutableMap(one) == ImmutableMap(other)) == (one == other)


def test_what_is_equal_stays_the_very_object() -> None:
    first, second = [1], [1]
    before = ImmutableMap({"a": first})
    assert before.with_changes({"a": second}) is before
    assert before.with_changes({"a": second, "b": [2]})["a"] is first


def test_nothing_that_did_not_change_is_compared() -> None:
    before = ImmutableMap({number: Watched() for number in range(1000)})
    after = before.with_changes({1000: Watched()})
    Watched.compared = 0
    assert after.changes_since(before).present.keys() == {1000}
    assert after.with_changes({}, [1000]) != after
    assert Watched.compared == 0
