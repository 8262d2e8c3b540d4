import pytest

from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.memo import Memo, MemoEntries, MemoMap, MemoUnion


class Maker:
    """Counts what it makes."""

    def __init__(self) -> None:
        self.made: list[object] = []

    def __call__(self, item: object = None) -> list[object]:
        self.made.append(item)
        return [item]


def test_equal_inputs_give_the_very_result_of_before() -> None:
    memo, maker = Memo[object](), Maker()
    first = memo.get(([1],), maker)
    assert memo.get(([1],), maker) is first
    assert memo.get(([2],), maker) is not first
    assert len(maker.made) == 2


def test_inputs_that_were_found_equal_once_are_not_compared_again() -> None:
    class Watched:
        compared = 0

        def __eq__(self, other: object) -> bool:
            Watched.compared += 1
            return isinstance(other, Watched)

        __hash__ = None  # type: ignore[assignment]

    memo, maker, later = Memo[object](), Maker(), (Watched(),)
    memo.get((Watched(),), maker)
    for _ in range(3):
        memo.get(later, maker)
    assert (Watched.compared, len(maker.made)) == (1, 1)


def test_a_map_makes_only_what_is_new_or_changed() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    first = memo.map(ImmutableMap({"a": [1], "b": None}), maker)
    assert memo.map(ImmutableMap({"a": [1], "b": None}), maker) is first
    maker.made.clear()
    second = memo.map(ImmutableMap({"c": [3], "b": [2], "a": [1]}), maker)
    assert second == {"c": [[3]], "b": [[2]], "a": [[1]]}
    assert second["a"] is first["a"]
    assert sorted(maker.made, key=str) == [[2], [3]]


def test_a_result_that_is_equal_to_the_one_before_is_the_very_same() -> None:
    memo = MemoMap[str, int, list[bool]]()
    first = memo.map(ImmutableMap({"a": 1, "b": 1}), lambda item: [item > 0])
    assert memo.map(ImmutableMap({"a": 2, "b": 1}), lambda item: [item > 0]) is first
    assert memo.map(ImmutableMap({"a": 2, "b": 0}), lambda item: [item > 0], common=(1,))["a"] is first["a"]


def test_what_left_a_map_is_made_anew_when_it_comes_back() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    for keys in ("ab", "a", "ab"):
        assert memo.map(ImmutableMap(dict.fromkeys(keys, 1)), maker).keys() == set(keys)
    assert len(maker.made) == 3


def test_all_of_a_map_is_made_anew_when_what_is_common_changes() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    for common in (1, 1, 2):
        memo.map(ImmutableMap({"a": 1, "b": 2}), maker, common=(common,))
    assert len(maker.made) == 4
    assert memo.map(ImmutableMap({"b": 2}), maker, common=(3,)).keys() == {"b"}
    assert memo.map(ImmutableMap(), maker, common=(4,)) == {}


def test_a_failure_leaves_the_results_of_before() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    first = memo.map(ImmutableMap({"a": 1}), maker)

    def fail(_: object) -> object:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - made above
        memo.map(ImmutableMap({"a": 2}), fail)
    assert memo.map(ImmutableMap({"a": 1}), maker) is first


def test_entries_follow_their_items() -> None:
    memo = MemoEntries[int, str, str, str]()

    def entries(item: str) -> dict[str, str]:
        return dict.fromkeys(item, item)

    assert memo.map(ImmutableMap({1: "ab", 2: "c", 3: ""}), entries) == {"a": "ab", "b": "ab", "c": "c"}
    assert memo.map(ImmutableMap({1: "b", 2: "ac"}), entries) == {"a": "ac", "b": "b", "c": "ac"}
    before = memo.map(ImmutableMap({2: "ac", 4: "b"}), entries)
    assert before == {"a": "ac", "b": "b", "c": "ac"}
    assert memo.map(ImmutableMap({2: "ac", 4: "b"}), entries) is before
    assert memo.map(ImmutableMap(), entries) == {}


def test_a_union_follows_its_parts() -> None:
    union = MemoUnion[str, int]()
    one, other = ImmutableMap({"a": 1, "b": 2}), ImmutableMap({"c": 3})
    first = union.of(one, other)
    assert first == {"a": 1, "b": 2, "c": 3}
    assert union.of(one, other) is first
    assert union.of(ImmutableMap({"b": 2}), ImmutableMap({"a": 4})) == {"a": 4, "b": 2}
    assert union.of(ImmutableMap(), ImmutableMap()) == {}
