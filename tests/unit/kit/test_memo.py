import pytest

from skerry.kit.memo import Memo, MemoMap


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


def test_a_map_makes_only_what_is_new_or_changed_and_keeps_the_order() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    first = memo.map({"a": [1], "b": None}, maker)
    assert memo.map({"a": [1], "b": None}, maker) is first
    assert maker.made == [[1], None]
    second = memo.map({"c": [3], "b": [2], "a": [1]}, maker)
    assert list(second.items()) == [("c", [[3]]), ("b", [[2]]), ("a", [[1]])]
    assert second["a"] is first["a"]
    assert maker.made == [[1], None, [3], [2]]


def test_what_left_a_map_is_made_anew_when_it_comes_back() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    for keys in ("ab", "a", "ab"):
        assert list(memo.map(dict.fromkeys(keys, 1), maker)) == list(keys)
    assert len(maker.made) == 3


def test_all_of_a_map_is_made_anew_when_what_is_common_changes() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    for common in (1, 1, 2):
        memo.map({"a": 1, "b": 2}, maker, common=(common,))
    assert len(maker.made) == 4


def test_a_failure_leaves_the_results_of_before() -> None:
    memo, maker = MemoMap[str, object, object](), Maker()
    first = memo.map({"a": 1}, maker)

    def fail(_: object) -> object:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - made above
        memo.map({"a": 2}, fail)
    assert memo.map({"a": 1}, maker) is first
