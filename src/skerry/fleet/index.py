"""Which applications and Gateways each node is to run, kept as objects change. Pure: it is told of changes, and asked.

Owns the binding of applications to nodes by their selectors, the versions of applications, and who mounts what. Nothing
of it is stored: it follows from the log alone, and every process that follows the log has the same.

Invariant: it equals what would be worked out from scratch, and a change costs time in proportion to the bindings that
it changes, not to what there is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from skerry.api.selectors import LabelSelector
from skerry.fleet.desire import NOTHING, Desire, Wanted
from skerry.fleet.postings import LabelPostings, SelectorPostings
from skerry.fleet.shifts import Shift

Key = tuple[str, str]
"""Namespace and name."""

Sort = Literal["configuration", "secret"]


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Something that applications mount."""

    sort: Sort
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What binding needs to know of an application.

    Attributes:
        selector: of nodes; an empty one matches none.
        system: whether it is a part of Baetyl itself.
        revision: of the log, at which it was written.
        mounts: all that it can't run without.
    """

    selector: LabelSelector
    system: bool
    revision: int
    mounts: frozenset[Source] = frozenset()


@dataclass(slots=True)
class _Node:
    labels: Mapping[str, str]
    apps: set[str] = field(default_factory=set)
    desire: Desire | None = None


@dataclass(slots=True)
class _Application:
    facts: Facts
    version: int = 0
    nodes: set[str] = field(default_factory=set)


class _Fleet:
    """One namespace."""

    def __init__(self) -> None:
        self.nodes: dict[str, _Node] = {}
        self.apps: dict[str, _Application] = {}
        self.labels = LabelPostings()
        self.selectors: SelectorPostings[str] = SelectorPostings()
        self.gateways: dict[str, LabelSelector] = {}
        self.gateway_selectors: SelectorPostings[str] = SelectorPostings()
        #: By the rollout that they are of, in the order of its name.
        self.shifts: dict[str, Shift] = {}

    def runs(self, node: str, app: str) -> str:
        """Return what a node runs in place of an application: what rollouts bring it to, one after the other.

        A target that is not there, or lacks what it mounts, takes nobody: a node keeps what it has.
        """
        labels, seen = self.nodes[node].labels, {app}
        while (target := self._target(node, labels, app)) and target not in seen:
            app = target
            seen.add(app)
        return app

    def _target(self, node: str, labels: Mapping[str, str], app: str) -> str:
        for _, shift in sorted(self.shifts.items()) if self.shifts else ():
            if shift.application == app and shift.admits(node, labels):
                target = self.apps.get(shift.target)
                if target is not None and target.version:
                    return shift.target
        return ""

    def gateways_of(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the Gateways that a node with these labels runs."""
        found = self.gateway_selectors.candidates(labels) if self.gateways else ()
        return tuple(sorted(name for name in found if self.gateways[name].matches(labels)))

    def carriers(self, app: str, above: frozenset[str] = frozenset()) -> set[str]:
        """Return the nodes that an application is bound to, or that rollouts may bring to it."""
        bound = self.apps.get(app)
        found = set(bound.nodes) if bound else set()
        for name, shift in self.shifts.items():
            if shift.target == app and name not in above:
                before = self.carriers(shift.application, above | {name})
                found |= {node for node in before if shift.admits(node, self.nodes[node].labels)}
        return found


class FleetIndex:
    """Nodes, applications and what these mount, of all namespaces.

    Whatever tells it of a change is answered with the nodes whose desire that changes.
    """

    def __init__(self) -> None:
        self._fleets: dict[str, _Fleet] = {}
        self._revisions: dict[Source, int] = {}
        self._users: dict[Source, set[str]] = {}

    def put_node(self, key: Key, labels: Mapping[str, str]) -> set[Key]:
        """Take a node, new or changed."""
        fleet, name = self._fleet(key[0]), key[1]
        node = fleet.nodes.get(name)
        if node is not None and node.labels == labels:
            return set()
        if node is None:
            node = fleet.nodes[name] = _Node(labels)
        else:
            fleet.labels.remove(name, node.labels)
            node.labels = labels
        fleet.labels.add(name, labels)
        candidates = fleet.selectors.candidates(labels)
        bound = {app for app in candidates if fleet.apps[app].facts.selector.matches(labels)}
        if bound == node.apps and not fleet.shifts and not fleet.gateways:
            return set()
        for app in node.apps - bound:
            fleet.apps[app].nodes.discard(name)
        for app in bound - node.apps:
            fleet.apps[app].nodes.add(name)
        node.apps, node.desire = bound, None
        return {key}

    def drop_node(self, key: Key) -> set[Key]:
        """Forget a node."""
        fleet, name = self._known(key[0]), key[1]
        node = fleet.nodes.pop(name, None)
        if node is None:
            return set()
        fleet.labels.remove(name, node.labels)
        for app in node.apps:
            fleet.apps[app].nodes.discard(name)
        self._leave(key[0])
        return {key}

    def put_application(self, key: Key, facts: Facts) -> set[Key]:
        """Take an application, new or changed."""
        fleet, name = self._fleet(key[0]), key[1]
        app = fleet.apps.get(name)
        if app is not None and app.facts == facts:
            return set()
        before = app.facts if app else None
        if app is None:
            app = fleet.apps[name] = _Application(facts)
        app.facts = facts
        self._mount(key, before.mounts if before else frozenset(), facts.mounts)
        app.version = self._version(facts)
        changed = fleet.carriers(name)
        if before is None or before.selector != facts.selector:
            if before is not None:
                fleet.selectors.remove(name, before.selector)
            fleet.selectors.add(name, facts.selector)
            changed |= self._bind(fleet, name, app)
        return self._forgotten(key[0], changed)

    def drop_application(self, key: Key) -> set[Key]:
        """Forget an application."""
        fleet, name = self._known(key[0]), key[1]
        carriers = fleet.carriers(name)
        app = fleet.apps.pop(name, None)
        if app is None:
            return set()
        fleet.selectors.remove(name, app.facts.selector)
        self._mount(key, app.facts.mounts, frozenset())
        for node in app.nodes:
            fleet.nodes[node].apps.discard(name)
        changed = self._forgotten(key[0], carriers)
        self._leave(key[0])
        return changed

    def put_shift(self, key: Key, shift: Shift) -> set[Key]:
        """Take what a rollout does, new or changed; the key is the rollout's."""
        fleet = self._fleet(key[0])
        before = fleet.shifts.get(key[1])
        if before == shift:
            return set()
        fleet.shifts[key[1]] = shift
        return self._forgotten(key[0], self._shifted(fleet, before, shift))

    def drop_shift(self, key: Key) -> set[Key]:
        """Forget a rollout: the nodes that it let in go back."""
        fleet = self._known(key[0])
        before = fleet.shifts.pop(key[1], None)
        changed = self._forgotten(key[0], self._shifted(fleet, before))
        if before is not None:
            self._leave(key[0])
        return changed

    def put_gateway(self, key: Key, selector: LabelSelector) -> set[Key]:
        """Take a Gateway, new or changed, with the nodes that it selects; an empty selector matches none."""
        fleet, name = self._fleet(key[0]), key[1]
        before = fleet.gateways.get(name)
        if before == selector:
            return set()
        changed = self.matching(key[0], selector)
        if before is not None:
            changed |= self.matching(key[0], before)
            fleet.gateway_selectors.remove(name, before)
        fleet.gateways[name] = selector
        fleet.gateway_selectors.add(name, selector)
        return self._forgotten(key[0], changed)

    def drop_gateway(self, key: Key) -> set[Key]:
        """Forget a Gateway."""
        fleet = self._known(key[0])
        before = fleet.gateways.pop(key[1], None)
        if before is None:
            return set()
        fleet.gateway_selectors.remove(key[1], before)
        changed = self._forgotten(key[0], self.matching(key[0], before))
        self._leave(key[0])
        return changed

    def put_source(self, source: Source, revision: int) -> set[Key]:
        """Take a configuration or secret, new or changed."""
        self._revisions[source] = revision
        return self._renew_users(source)

    def drop_source(self, source: Source) -> set[Key]:
        """Forget a configuration or secret."""
        self._revisions.pop(source, None)
        return self._renew_users(source)

    def desire(self, key: Key) -> Desire:
        """Return what a node is to run; nothing for one that is not known."""
        fleet = self._known(key[0])
        node = fleet.nodes.get(key[1])
        if node is None:
            return NOTHING
        if node.desire is None:
            apps: list[Wanted] = []
            sysapps: list[Wanted] = []
            for name in sorted({fleet.runs(key[1], app) for app in node.apps}):
                app = fleet.apps[name]
                (sysapps if app.facts.system else apps).append(Wanted(name, app.version))
            node.desire = Desire(tuple(apps), tuple(sysapps), fleet.gateways_of(node.labels))
        return node.desire

    def has_node(self, key: Key) -> bool:
        """Tell whether a node is known."""
        return key[1] in self._known(key[0]).nodes

    def version_of(self, key: Key) -> int:
        """Return the version of an application; 0 where it is not known, or something that it mounts is missing."""
        app = self._known(key[0]).apps.get(key[1])
        return app.version if app else 0

    def nodes_of(self, key: Key) -> frozenset[str]:
        """Return the names of the nodes that are to run an application."""
        app = self._known(key[0]).apps.get(key[1])
        return frozenset(app.nodes) if app else frozenset()

    def carriers_of(self, key: Key) -> dict[str, Mapping[str, str]]:
        """Return the nodes, with their labels, that run an application, or what rollouts bring them to from there."""
        fleet = self._known(key[0])
        return {name: fleet.nodes[name].labels for name in fleet.carriers(key[1])}

    def matching(self, namespace: str, selector: LabelSelector) -> set[str]:
        """Return the names of the nodes that a selector matches; an empty one matches none."""
        fleet = self._known(namespace)
        if not selector:
            return set()
        return {name for name in fleet.labels.candidates(selector) if selector.matches(fleet.nodes[name].labels)}

    def users_of(self, source: Source) -> list[str]:
        """Return the names of the applications, of its namespace, that mount a configuration or secret."""
        return sorted(self._users.get(source, ()))

    def summary(self, namespace: str) -> dict[str, int]:
        """Return how many applications a namespace has, how many of them lack what they mount, and all bindings."""
        apps = self._known(namespace).apps.values()
        return {
            "applications": len(apps),
            "incomplete": sum(not app.version for app in apps),
            "bindings": sum(len(app.nodes) for app in apps),
        }

    def statistics(self) -> dict[str, int]:
        """Return how much there is."""
        fleets = self._fleets.values()
        return {
            "nodes": sum(len(fleet.nodes) for fleet in fleets),
            "applications": sum(len(fleet.apps) for fleet in fleets),
            "bindings": sum(len(app.nodes) for fleet in fleets for app in fleet.apps.values()),
            "sources": len(self._revisions),
        }

    def _fleet(self, namespace: str) -> _Fleet:
        fleet = self._fleets.get(namespace)
        if fleet is None:
            fleet = self._fleets[namespace] = _Fleet()
        return fleet

    def _leave(self, namespace: str) -> None:
        """Forget a namespace that has nothing any more."""
        fleet = self._fleets[namespace]
        if not fleet.nodes and not fleet.apps and not fleet.shifts and not fleet.gateways:
            del self._fleets[namespace]

    def _known(self, namespace: str) -> _Fleet:
        """Return a namespace to be read: whoever asks for one that has nothing adds nothing."""
        return self._fleets.get(namespace) or _Fleet()

    def _bind(self, fleet: _Fleet, name: str, app: _Application) -> set[str]:
        """Bind an application to the nodes that its selector matches; return those that it had not."""
        selector = app.facts.selector
        bound: set[str] = set()
        if selector:
            nodes = fleet.nodes
            bound = {each for each in fleet.labels.candidates(selector) if selector.matches(nodes[each].labels)}
        for node in app.nodes - bound:
            fleet.nodes[node].apps.discard(name)
        new = bound - app.nodes
        for node in new:
            fleet.nodes[node].apps.add(name)
        app.nodes = bound
        return new

    @staticmethod
    def _shifted(fleet: _Fleet, *shifts: Shift | None) -> set[str]:
        return {node for shift in shifts if shift for node in fleet.carriers(shift.application)}

    def _mount(self, key: Key, before: Iterable[Source], now: Iterable[Source]) -> None:
        for source in set(before) - set(now):
            self._users[source].discard(key[1])
            if not self._users[source]:
                del self._users[source]
        for source in now:
            self._users.setdefault(source, set()).add(key[1])

    def _version(self, facts: Facts) -> int:
        revisions = [self._revisions.get(source, 0) for source in facts.mounts]
        return max([facts.revision, *revisions]) if all(revisions) else 0

    def _renew_users(self, source: Source) -> set[Key]:
        """Work out again the versions of the applications that mount something."""
        fleet, changed = self._known(source.namespace), set[str]()
        for name in self._users.get(source, ()):
            app = fleet.apps[name]
            version = self._version(app.facts)
            if version != app.version:
                app.version = version
                changed |= fleet.carriers(name)
        return self._forgotten(source.namespace, changed)

    def _forgotten(self, namespace: str, nodes: Iterable[str]) -> set[Key]:
        """Forget the desires of nodes, to be worked out when somebody asks."""
        fleet, keys = self._known(namespace), set[Key]()
        for name in nodes:
            fleet.nodes[name].desire = None
            keys.add((namespace, name))
        return keys
