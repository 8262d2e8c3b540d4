import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.function_traffic import (
    TRAFFIC_ENTRIES_MAX,
    TrafficEntry,
    TrafficTarget,
    live_of,
    scaled,
    validate_traffic,
    with_share,
)


def problems(*entries: TrafficEntry, function: str = "f", whole: bool = False) -> list[str]:
    return [str(error) for error in validate_traffic(entries, function, "spec.traffic", whole=whole)]


def test_shares_and_tags_that_make_sense_are_accepted():
    assert problems() == []
    assert problems(TrafficEntry(latest=True, percent=90), TrafficEntry(revision="f-4", percent=10, tag="old")) == []
    assert problems(TrafficEntry(revision="f-4", tag="v1"), TrafficEntry(latest=True, tag="next")) == []
    assert problems(TrafficEntry(latest=True, percent=100), TrafficEntry(revision="f-4", percent=0)) == []


def test_every_problem_is_told_at_once_with_its_field():
    told = problems(
        TrafficEntry(percent=50),
        TrafficEntry(latest=True, revision="f-4", percent=30),
        TrafficEntry(latest=False, revision="g-4", percent=10, tag="Old"),
        TrafficEntry(revision="f-4"),
        TrafficEntry(revision="f-4", tag="a"),
        TrafficEntry(revision="f-5", tag="a"),
    )
    assert [line.partition(":")[0] for line in told] == [
        "spec.traffic[0]",
        "spec.traffic[1]",
        "spec.traffic[2].latest",
        "spec.traffic[2].revision",
        "spec.traffic[2].tag",
        "spec.traffic[3]",
        "spec.traffic[5].tag",
        "spec.traffic",
    ]
    assert told[-1].endswith("the percent of all entries must add up to 100, and they add up to 90")


@pytest.mark.parametrize("tag", ["", "-a", "a-", "A", "a.b", "a--b", "xn", "a" * 62])
def test_a_tag_that_can_be_no_part_of_a_host_name_is_refused(tag: str):
    assert any("spec.traffic[0].tag" in line for line in problems(TrafficEntry(latest=True, tag=tag)))


def test_a_tag_and_a_long_name_together_must_be_one_label():
    assert problems(TrafficEntry(latest=True, tag="a" * 11), function="f" * 50) == []
    [told] = problems(TrafficEntry(latest=True, tag="a" * 12), function="f" * 50)
    assert "may have 63 characters, and has 64" in told


def test_the_number_of_entries_is_bounded():
    entries = [TrafficEntry(revision="f-4", tag=f"t{n}") for n in range(TRAFFIC_ENTRIES_MAX + 1)]
    assert problems(*entries) == ["spec.traffic: Too many: 21: must have at most 20 items"]


def test_a_filter_is_not_split():
    [told, *_] = problems(TrafficEntry(latest=True, percent=50), TrafficEntry(revision="f-4", percent=50), whole=True)
    assert told.startswith("spec.traffic[0].percent: Forbidden: in mode filter")
    assert problems(TrafficEntry(revision="f-4", percent=100), whole=True) == []


def test_the_live_revision_is_the_one_with_most_requests_and_the_first_of_equals():
    shares = [("f-4", 30), ("f-5", 40), ("f-4", 30)]
    assert live_of(TrafficTarget(revision=name, percent=percent) for name, percent in shares) == "f-4"
    assert live_of([TrafficTarget(revision="f-4", percent=50), TrafficTarget(revision="f-5", percent=50)]) == "f-4"
    assert live_of([TrafficTarget(revision="f-4", tag="old")]) is None


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20), st.integers(0, 100))
def test_scaled_shares_add_up(percents: list[int], total: int):
    found = scaled(percents, total)
    assert sum(found) == total
    assert min(found) >= 0


def told(entries: list[TrafficEntry]) -> list[dict[str, object]]:
    return [entry.model_dump(exclude_none=True) for entry in entries]


def test_a_share_is_taken_from_the_others_in_proportion_and_tags_stay():
    before = [TrafficEntry(revision="f-4", percent=60, tag="old"), TrafficEntry(revision="f-5", percent=40)]
    after = with_share(before, None, 50)
    assert told(after) == [
        {"latest": True, "percent": 50},
        {"revision": "f-4", "percent": 30, "tag": "old"},
        {"revision": "f-5", "percent": 20},
    ]
    assert told(with_share(after, None, 100)) == [{"latest": True, "percent": 100}, {"revision": "f-4", "tag": "old"}]
    assert told(with_share(after, "f-5", 100))[0] == {"revision": "f-5", "percent": 100}


def test_a_share_of_what_nobody_else_has_is_refused():
    with pytest.raises(ValueError, match="no other revision gets requests"):
        with_share(None, None, 10)
    assert told(with_share(None, "f-4", 10)) == [{"revision": "f-4", "percent": 10}, {"latest": True, "percent": 90}]


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=8),
    st.integers(0, 7),
    st.integers(1, 99),
)
def test_shares_add_up_however_they_are_moved(percents: list[int], which: int, percent: int):
    names = [f"f-{number}" for number in range(len(percents))]
    shares = scaled(percents, 100)
    before = [TrafficEntry(revision=name, percent=share) for name, share in zip(names, shares, strict=True)]
    after = with_share(before, f"f-{which}x", percent)
    assert problems(*after) == []
