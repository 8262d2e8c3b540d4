"""The laws of field ownership, for any managers, applies and updates, against a model of them."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.server.verbs.apply import fieldpath
from skerry.server.verbs.apply.comparing import children, compare, everything
from skerry.server.verbs.apply.fieldpath import FieldSet, difference, intersection
from skerry.server.verbs.apply.managers import FieldConflicts, Manager
from skerry.server.verbs.apply.schema import Shape

VALUES = st.sampled_from(["1", "2"])
LABELS = st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)
PORTS = st.lists(st.sampled_from("pq"), unique=True, max_size=2).flatmap(
    lambda names: st.tuples(
        *(
            st.fixed_dictionaries({"name": st.just(name)}, optional={"port": st.integers(1, 2), "options": LABELS})
            for name in names
        )
    ).map(list)
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "code": VALUES,
        "inner": st.fixed_dictionaries({}, optional={"x": VALUES, "y": VALUES}),
        "ports": PORTS,
        "tags": st.lists(st.sampled_from("tu"), unique=True, max_size=2),
        "words": st.lists(st.sampled_from("vw"), max_size=2),
        "labels": LABELS,
        "free": st.dictionaries(st.sampled_from("fg"), LABELS | VALUES, max_size=2),
    },
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["apply", "force", "update"]), st.sampled_from(["one", "two", "three"]), SPECS),
    max_size=6,
)


def run(world: Any, steps: Any) -> None:
    for how, name, spec in steps:
        if how == "update":
            world.update(name, spec)
            continue
        try:
            world.apply(name, spec, force=how == "force")
        except FieldConflicts:
            assert how == "apply"


Path = tuple[str, ...]


def leaves_of(world: Any, spec: Any) -> dict[Path, Any]:
    """The model of an object: its leaves and empty containers by path."""
    return dict(_leaves({"spec": spec}, world.shape, ()))


def _leaves(value: Any, shape: Shape, path: Path) -> Iterator[tuple[Path, Any]]:
    inside = children(value, shape)
    if not inside:
        yield path, value
    for element, item in (inside or {}).items():
        yield from _leaves(*item, (*path, element))


def has(fields: FieldSet, path: Path, *, member: bool = True) -> bool:
    """Tell whether a set has a path, or (without `member`) anything at or below it."""
    for element in path:
        if element not in fields:
            return False
        fields = fields[element]
    return fieldpath.is_member(fields) if member else True


def others_of(world: Any, name: str) -> list[FieldSet]:
    return [owned.fields for manager, owned in world.owners.items() if manager != Manager("Apply", name)]


def without_times(world: Any) -> Any:
    return {manager: owned.fields for manager, owned in world.owners.items()}


@given(STEPS, SPECS)
def test_applying_twice_changes_nothing(new_world: Any, steps: Any, spec: Any) -> None:
    world = new_world()
    run(world, steps)
    world.apply("one", spec, force=True)
    live, owners = world.live, without_times(world)
    world.apply("one", spec)
    assert (world.live, without_times(world)) == (live, owners)


@given(STEPS, SPECS)
def test_what_a_manager_applies_is_there_and_its_own(new_world: Any, steps: Any, spec: Any) -> None:
    world = new_world()
    run(world, steps)
    world.apply("one", spec, force=True)
    live = leaves_of(world, world.spec)
    for path, value in leaves_of(world, spec).items():
        assert value in ({}, []) or live[path] == value
        assert path == ("f:spec",) or has(world.owners[Manager("Apply", "one")].fields, path)


@given(STEPS, SPECS)
def test_an_apply_without_force_changes_nothing_of_others(new_world: Any, steps: Any, spec: Any) -> None:
    """But for what lies in an item that the manager had applied, and nobody else has, and that it drops."""
    world = new_world()
    run(world, steps)
    before, others = leaves_of(world, (world.live and world.spec) or {}), others_of(world, "one")
    previous = world.owners[Manager("Apply", "one")].fields if Manager("Apply", "one") in world.owners else {}
    try:
        world.apply("one", spec)
    except FieldConflicts:
        assert leaves_of(world, world.spec or {}) == before
        return
    after = leaves_of(world, world.spec or {})
    for path, value in before.items():
        if not any(has(fields, path) for fields in others) or value in ({}, []):
            continue
        prefixes = [path[:end] for end in range(1, len(path))]
        dropped = [at for at in prefixes if has(previous, at) and not any(has(fields, at) for fields in others)]
        assert after.get(path) == value or (dropped and path not in after)


@given(STEPS, SPECS)
def test_what_a_manager_drops_goes_unless_another_owns_it_and_the_rest_stays(
    new_world: Any, steps: Any, spec: Any
) -> None:
    world = new_world()
    run(world, steps)
    before, others = leaves_of(world, (world.live and world.spec) or {}), others_of(world, "one")
    previous = world.owners[Manager("Apply", "one")].fields if Manager("Apply", "one") in world.owners else {}
    world.apply("one", spec, force=True)
    after, applied_now = leaves_of(world, world.spec or {}), leaves_of(world, spec)
    for path, value in before.items():
        if path in applied_now or value in ({}, []):
            continue
        if has(previous, path) and not any(has(fields, path) for fields in others):
            assert path not in after
        if not any(has(previous, path[:end], member=False) for end in range(2, len(path) + 1)):
            # free-form data may hold a value where an object is applied, and the other way round
            overwritten = any(at[: len(path)] == path or path[: len(at)] == at for at in applied_now)
            assert overwritten or after[path] == value


@given(STEPS, SPECS)
def test_an_update_owns_what_it_changed_and_nobody_else_does(new_world: Any, steps: Any, spec: Any) -> None:
    world = new_world()
    run(world, [*steps, ("force", "two", {"code": "3"})])  # so that the object is tracked
    old = world.live
    world.update("one", spec)
    made = compare(old, world.live, world.shape)
    for manager, owned in world.owners.items():
        if manager == Manager("Update", "one"):
            assert difference(made.changed, owned.fields) == {}
        else:
            assert intersection(owned.fields, made.changed) == {}


@given(STEPS)
def test_nobody_owns_what_is_not_there(new_world: Any, steps: Any) -> None:
    world = new_world()
    run(world, steps)
    for manager, owned in world.owners.items():
        assert owned.fields
        assert difference(owned.fields, everything(world.live, world.shape)) == {}, manager
