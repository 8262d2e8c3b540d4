"""Deadlines that keep moving."""

from hypothesis import given
from hypothesis import strategies as st

from skerry.fleet.readiness import Deadlines


def test_a_deadline_that_is_moved_is_due_at_its_new_moment_alone():
    deadlines = Deadlines[str]()
    deadlines.set("n", 10)
    deadlines.set("n", 30)
    assert deadlines.take(20) == []
    assert deadlines.take(30) == ["n"]
    assert deadlines.take(99) == []


def test_a_deadline_may_come_closer():
    deadlines = Deadlines[str]()
    deadlines.set("n", 30)
    deadlines.set("n", 10)
    assert deadlines.take(10) == ["n"]
    assert deadlines.take(99) == []


def test_what_is_removed_is_never_due():
    deadlines = Deadlines[str]()
    deadlines.set("n", 10)
    deadlines.remove("n")
    assert deadlines.take(99) == []
    assert len(deadlines) == 0


def test_a_deadline_that_moves_on_all_the_time_takes_no_memory():
    deadlines = Deadlines[str]()
    for moment in range(10_000):
        deadlines.set("n", moment)
    assert len(deadlines._heap) == 1


MOVES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["set", "remove", "take"]), st.integers(0, 20)), max_size=60
)


@given(MOVES)
def test_it_is_a_dict_of_moments(moves: list[tuple[str, str, int]]):
    deadlines, model = Deadlines[str](), dict[str, int]()
    for key, move, moment in moves:
        if move == "set":
            deadlines.set(key, moment)
            model[key] = moment
        elif move == "remove":
            deadlines.remove(key)
            model.pop(key, None)
        else:
            due = {each for each, at in model.items() if at <= moment}
            assert set(deadlines.take(moment)) == due
            model = {each: at for each, at in model.items() if each not in due}
        assert len(deadlines) == len(model)
        following = deadlines.next_due()
        if model:
            assert following is not None
            assert following <= min(model.values())
