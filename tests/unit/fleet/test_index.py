"""The binding of applications to nodes: kept as things change, it is what working it out from scratch gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skerry.api.selectors import parse_label_selector
from skerry.fleet.desire import Desire, Wanted, is_behind, told
from skerry.fleet.index import Facts, FleetIndex, Source
from skerry.fleet.shifts import ARRIVAL_PLACES, Admitted, Shift

NODES = ("n1", "n2", "n3")
APPS = ("a1", "a2", "a3")
PLACES = ("default", "other")
SOURCES = tuple(Source(sort, place, "s") for sort in ("configuration", "secret") for place in PLACES)
SELECTORS = (
    "",
    "site=lyon",
    "site in (lyon, oslo),tier!=dev",
    "site",
    "!site",
    "tier notin (dev)",
    "rank>3",
    "rank<3,site",
    "site=",
    "site=lyon,tier=dev",
)

labels_of_nodes = st.dictionaries(
    st.sampled_from(["site", "tier", "rank"]), st.sampled_from(["lyon", "oslo", "dev", "", "2", "5"])
)


@dataclass
class Model:
    """All that there is, and the desire of a node worked out from it alone."""

    nodes: dict[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    apps: dict[tuple[str, str], Facts] = field(default_factory=dict)
    sources: dict[Source, int] = field(default_factory=dict)
    shifts: dict[tuple[str, str], Shift] = field(default_factory=dict)
    gateways: dict[tuple[str, str], str] = field(default_factory=dict)

    def version(self, facts: Facts) -> int:
        if facts.mounts - self.sources.keys():
            return 0
        return max([facts.revision, *(self.sources[source] for source in facts.mounts)])

    def desire(self, key: tuple[str, str]) -> Desire:
        if key not in self.nodes:
            return Desire()
        names = {
            self.runs(key, name)
            for (place, name), facts in self.apps.items()
            if place == key[0] and facts.selector and facts.selector.matches(self.nodes[key])
        }
        found = [
            (Wanted(name, self.version(facts)), facts) for name in sorted(names) if (facts := self.apps[key[0], name])
        ]
        gateways = sorted(
            name
            for (place, name), text in self.gateways.items()
            if text and place == key[0] and parse_label_selector(text).matches(self.nodes[key])
        )
        apps, system = (tuple(w for w, f in found if f.system is each) for each in (False, True))
        return Desire(apps, system, tuple(gateways))

    def runs(self, key: tuple[str, str], name: str) -> str:
        """Return what a node runs in place of an application, one rollout after the other."""
        seen = [name]
        while True:
            targets = [
                shift.target
                for (place, _), shift in sorted(self.shifts.items(), key=lambda item: item[0])
                if (place, shift.application) == (key[0], seen[-1])
                and shift.admits(key[1], self.nodes[key])
                and (place, shift.target) in self.apps
                and self.version(self.apps[place, shift.target])
            ]
            if not targets or targets[0] in seen:
                return seen[-1]
            seen.append(targets[0])

    def desires(self) -> dict[tuple[str, str], Desire]:
        return {(place, name): self.desire((place, name)) for place in PLACES for name in NODES}


class Following(RuleBasedStateMachine):
    """Changes in any order, told to the index and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.model, self.revision = FleetIndex(), Model(), 0

    def told(self, before: dict[tuple[str, str], Desire], changed: set[tuple[str, str]]) -> None:
        now = self.model.desires()
        assert {key for key in now if now[key] != before[key]} <= changed

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(NODES), labels=labels_of_nodes)
    def put_node(self, place: str, name: str, labels: dict[str, str]) -> None:
        before = self.model.desires()
        self.model.nodes[place, name] = labels
        self.told(before, self.index.put_node((place, name), labels))

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(NODES))
    def drop_node(self, place: str, name: str) -> None:
        before = self.model.desires()
        self.model.nodes.pop((place, name), None)
        self.told(before, self.index.drop_node((place, name)))

    @rule(
        place=st.sampled_from(PLACES),
        name=st.sampled_from(APPS),
        selector=st.sampled_from(SELECTORS),
        system=st.booleans(),
        mounts=st.sets(st.sampled_from(["configuration", "secret"])),
    )
    def put_application(self, place: str, name: str, selector: str, system: bool, mounts: set[str]) -> None:  # noqa: FBT001 - drawn by name
        before, self.revision = self.model.desires(), self.revision + 1
        wanted = frozenset(source for source in SOURCES if source.namespace == place and source.sort in mounts)
        facts = Facts(parse_label_selector(selector), system, self.revision, wanted)
        self.model.apps[place, name] = facts
        self.told(before, self.index.put_application((place, name), facts))

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(APPS))
    def drop_application(self, place: str, name: str) -> None:
        before = self.model.desires()
        self.model.apps.pop((place, name), None)
        self.told(before, self.index.drop_application((place, name)))

    @rule(
        place=st.sampled_from(PLACES),
        name=st.sampled_from(["r1", "r2"]),
        apps=st.permutations(APPS),
        selector=st.sampled_from(SELECTORS[1:4]),
        percentage=st.sampled_from([0, 50]),
        everyone=st.booleans(),
    )
    def put_shift(
        self,
        place: str,
        name: str,
        apps: list[str],
        selector: str,
        percentage: int,
        everyone: bool,  # noqa: FBT001 - drawn by name
    ) -> None:
        before = self.model.desires()
        selectors = (parse_label_selector(selector),)
        last = Admitted((), percentage, everyone)
        shift = Shift(apps[0], apps[1], name, Admitted(selectors), last, ARRIVAL_PLACES // 2)
        self.model.shifts[place, name] = shift
        self.told(before, self.index.put_shift((place, name), shift))

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(["r1", "r2"]))
    def drop_shift(self, place: str, name: str) -> None:
        before = self.model.desires()
        self.model.shifts.pop((place, name), None)
        self.told(before, self.index.drop_shift((place, name)))

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(["g1", "g2"]), selector=st.sampled_from(SELECTORS))
    def put_gateway(self, place: str, name: str, selector: str) -> None:
        before = self.model.desires()
        self.model.gateways[place, name] = selector
        self.told(before, self.index.put_gateway((place, name), parse_label_selector(selector)))

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(["g1", "g2"]))
    def drop_gateway(self, place: str, name: str) -> None:
        before = self.model.desires()
        self.model.gateways.pop((place, name), None)
        self.told(before, self.index.drop_gateway((place, name)))

    @rule(source=st.sampled_from(SOURCES))
    def put_source(self, source: Source) -> None:
        before, self.revision = self.model.desires(), self.revision + 1
        self.model.sources[source] = self.revision
        self.told(before, self.index.put_source(source, self.revision))

    @rule(source=st.sampled_from(SOURCES))
    def drop_source(self, source: Source) -> None:
        before = self.model.desires()
        self.model.sources.pop(source, None)
        self.told(before, self.index.drop_source(source))

    @invariant()
    def desires_are_those_worked_out_from_scratch(self) -> None:
        for key, desire in self.model.desires().items():
            assert self.index.desire(key) == desire

    @invariant()
    def selectors_find_the_nodes_that_they_match(self) -> None:
        for text in SELECTORS:
            selector = parse_label_selector(text)
            for place in PLACES:
                matching = {
                    n for (at, n), labels in self.model.nodes.items() if at == place and selector.matches(labels)
                }
                assert self.index.matching(place, selector) == (matching if selector else set())

    @invariant()
    def users_are_those_that_mount(self) -> None:
        for source in SOURCES:
            mounting = sorted(n for (_, n), facts in self.model.apps.items() if source in facts.mounts)
            assert self.index.users_of(source) == mounting

    @invariant()
    def nothing_is_held_of_what_is_gone(self) -> None:
        held = self.index.statistics()
        assert held["nodes"] == len(self.model.nodes)
        assert held["applications"] == len(self.model.apps)
        assert held["sources"] == len(self.model.sources)


TestFollowing = Following.TestCase
TestFollowing.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def facts(selector: str, revision: int = 1, *mounts: Source) -> Facts:
    return Facts(parse_label_selector(selector), system=False, revision=revision, mounts=frozenset(mounts))


def test_a_change_tells_of_the_nodes_that_it_concerns_and_of_no_other() -> None:
    index = FleetIndex()
    for number in range(100):
        index.put_node(("default", f"n{number}"), {"site": "lyon" if number < 10 else "oslo"})
    assert len(index.put_application(("default", "app"), facts("site=lyon"))) == 10
    assert index.put_application(("default", "app"), facts("site=lyon")) == set()
    assert len(index.put_application(("default", "app"), facts("site=oslo", 2))) == 100
    assert index.put_node(("default", "n1"), {"site": "lyon", "door": "red"}) == set()
    assert index.put_node(("default", "n1"), {"site": "oslo"}) == {("default", "n1")}


def test_a_version_rises_with_each_change_of_what_is_mounted() -> None:
    index, source = FleetIndex(), Source("configuration", "default", "conf")
    index.put_node(("default", "n1"), {"site": "lyon"})
    index.put_source(source, 3)
    index.put_application(("default", "app"), facts("site", 5, source))
    assert index.desire(("default", "n1")).apps == (Wanted("app", 5),)
    assert index.put_source(source, 9) == {("default", "n1")}
    assert index.desire(("default", "n1")).apps == (Wanted("app", 9),)


def test_what_can_not_be_fetched_is_kept_by_nodes_that_have_it_and_given_to_no_other() -> None:
    index, source = FleetIndex(), Source("secret", "default", "key")
    index.put_node(("default", "n1"), {"site": "lyon"})
    index.put_application(("default", "app"), facts("site", 5, source))
    wanted = index.desire(("default", "n1")).apps
    assert told(wanted, {}) == []
    assert told(wanted, {"app": "4"}) == [("app", "4")]
    index.put_source(source, 8)
    assert told(index.desire(("default", "n1")).apps, {"app": "4"}) == [("app", "8")]


@pytest.mark.parametrize(
    ("reported", "behind"),
    [({"app": "6"}, True), ({"app": "5"}, False), ({"other": "9"}, False), ({"app": "new"}, False), ({}, False)],
)
def test_a_desire_is_behind_a_node_that_has_more(reported: dict[str, str], *, behind: bool) -> None:
    assert is_behind((Wanted("app", 5), Wanted("held", 0)), reported) is behind


def test_an_empty_selector_matches_no_node_and_strangers_have_no_desire() -> None:
    index = FleetIndex()
    index.put_node(("default", "n1"), {"site": "lyon"})
    index.put_application(("default", "app"), facts(""))
    assert index.desire(("default", "n1")) == Desire()
    assert index.desire(("nowhere", "n1")) == Desire()
    assert not index.has_node(("nowhere", "n1"))
