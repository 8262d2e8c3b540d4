"""Slices of nodes: kept as objects change, they are what working them out from scratch gives."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import DEFAULT_FUNCTIONS_LABEL, Gateway
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN, WasmPlugin
from skerry.api.model import from_document
from skerry.fleet.slice_objects import shown
from skerry.fleet.slices import Key, Ref, SliceIndex

ROOT = "istio-system"
PLACES = ("default", "other", ROOT)
KEYS = [(place, name) for place in PLACES[:2] for name in ("g1", "g2")]
FUNCTION = "extensions.apoxy.dev"
GATEWAY_GROUP = "gateway.networking.k8s.io"


def gateway(key: Key, *, every: bool = False, secret: str = "") -> Gateway:
    listener: dict[str, Any] = {"name": "a", "port": 80, "protocol": "HTTPS"}
    if secret:
        listener["tls"] = {"certificateRefs": [{"name": secret}]}
    labels = {DEFAULT_FUNCTIONS_LABEL: "true"} if every else {}
    document = {
        "metadata": {"namespace": key[0], "name": key[1], "labels": labels},
        "spec": {"gatewayClassName": "skerry", "listeners": [listener]},
    }
    return from_document(Gateway, document)


def route(key: Key, parents: list[Key], functions: list[str]) -> HTTPRoute:
    backends = [{"group": FUNCTION, "kind": "EdgeFunction", "name": name} for name in functions]
    spec = {
        "parentRefs": [{"namespace": place, "name": name} for place, name in parents],
        "rules": [{"backendRefs": backends}],
    }
    return from_document(HTTPRoute, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": spec})


def function(name: str, revision: str) -> EdgeFunction:
    code = {"wasmSource": {"url": "https://a.example/x.wasm"}}
    spec = {"template": {"mode": "backend", "code": code}}
    return from_document(EdgeFunction, {"metadata": {"name": name}, "spec": spec, "status": {"liveRevision": revision}})


def plugin(key: Key, targets: list[dict[str, str]]) -> WasmPlugin:
    spec: Any = {"url": "https://a.example/x.wasm", **({"targetRefs": targets} if targets else {})}
    return from_document(WasmPlugin, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": spec})


def ref_of(key: Key) -> Ref:
    return Ref(WASM_PLUGIN.resource, *key)


class Following(RuleBasedStateMachine):
    """Changes in any order: what is told of covers what they change, and nothing depends on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SliceIndex(ROOT)
        self.present: dict[tuple[str, Key], Any] = {}

    def scratch(self) -> SliceIndex:
        index = SliceIndex(ROOT)
        for (sort, key), obj in self.present.items():
            put(index, sort, key, obj)
        return index

    def changes(self, sort: str, key: Key, obj: Any) -> None:
        before = {each: self.index.members([each]) for each in KEYS}
        if obj is None:
            if self.present.pop((sort, key), None) is None:
                return
            told = drop(self.index, sort, key)
        else:
            self.present[sort, key] = obj
            told = put(self.index, sort, key, obj)
        assert {each for each in KEYS if self.index.members([each]) != before[each]} <= told

    @rule(key=st.sampled_from(KEYS), every=st.booleans(), secret=st.sampled_from(["", "tls"]), is_there=st.booleans())
    def gateway(self, key: Key, every: bool, secret: str, is_there: bool) -> None:  # noqa: FBT001 - drawn by name
        self.changes("gateway", key, gateway(key, every=every, secret=secret) if is_there else None)

    @rule(
        key=st.sampled_from([("default", "r1"), ("other", "r2")]),
        parents=st.lists(st.sampled_from(KEYS), max_size=2),
        functions=st.lists(st.sampled_from(["f1", "f2"]), max_size=2),
        is_there=st.booleans(),
    )
    def route(self, key: Key, parents: list[Key], functions: list[str], is_there: bool) -> None:  # noqa: FBT001
        self.changes("route", key, route(key, parents, functions) if is_there else None)

    @rule(name=st.sampled_from(["f1", "f2"]), revision=st.sampled_from(["a", "b"]), is_there=st.booleans())
    def function(self, name: str, revision: str, is_there: bool) -> None:  # noqa: FBT001 - drawn by name
        self.changes("function", ("", name), function(name, revision) if is_there else None)

    @rule(
        place=st.sampled_from(PLACES),
        named=st.sampled_from(["", "Gateway/g1", "GatewayClass/skerry"]),
        is_there=st.booleans(),
    )
    def plugin(self, place: str, named: str, is_there: bool) -> None:  # noqa: FBT001 - drawn by name
        kind, _, name = named.partition("/")
        targets = [{"group": GATEWAY_GROUP, "kind": kind, "name": name}] if named else []
        self.changes("plugin", (place, "p"), plugin((place, "p"), targets) if is_there else None)

    @invariant()
    def slices_are_those_worked_out_from_scratch(self) -> None:
        scratch = self.scratch()
        for key in KEYS:
            assert self.index.members([key]) == scratch.members([key])
        assert self.index.statistics() == scratch.statistics()


def put(index: SliceIndex, sort: str, key: Key, obj: Any) -> set[Key]:
    if sort == "plugin":
        return index.put_attached(ref_of(key), obj.spec)
    told: set[Key] = getattr(index, f"put_{sort}")(obj)
    return told


def drop(index: SliceIndex, sort: str, key: Key) -> set[Key]:
    if sort == "plugin":
        return index.drop_attached(ref_of(key))
    told: set[Key] = getattr(index, f"drop_{sort}")(key[1] if sort == "function" else key)
    return told


TestFollowing = Following.TestCase
TestFollowing.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def names(index: SliceIndex, *gateways: Key) -> set[str]:
    return {str(ref) for ref in index.members(gateways)}


def test_a_slice_holds_what_its_gateways_lead_to_and_nothing_else() -> None:
    index = SliceIndex(ROOT)
    index.put_gateway(gateway(("default", "g1"), secret="tls"))
    index.put_gateway(gateway(("default", "g2")))
    index.put_route(route(("other", "r1"), [("default", "g1")], ["f1"]))
    index.put_route(route(("default", "r2"), [("default", "g2")], ["f2"]))
    index.put_function(function("f1", "f1-a"))
    index.put_function(function("f2", "f2-a"))
    index.put_attached(ref_of(("default", "p1")), plugin(("default", "p1"), []).spec)
    named = [{"group": GATEWAY_GROUP, "kind": "Gateway", "name": "g2"}]
    index.put_attached(ref_of(("default", "p2")), plugin(("default", "p2"), named).spec)
    index.put_everywhere(Ref("egresspolicies.extensions.skerry.dev", "", "closed"))
    assert names(index, ("default", "g1")) == {
        "gatewayclasses.gateway.networking.k8s.io//skerry",
        "gateways.gateway.networking.k8s.io/default/g1",
        "httproutes.gateway.networking.k8s.io/other/r1",
        "edgefunctions.extensions.apoxy.dev//f1",
        "edgefunctionrevisions.extensions.apoxy.dev//f1-a",
        "wasmplugins.extensions.istio.io/default/p1",
        "egresspolicies.extensions.skerry.dev//closed",
        "secrets/default/tls",
        "namespaces//default",
        "namespaces//other",
    }
    assert names(index) == set()


def test_a_gateway_that_gives_functions_hosts_leads_to_every_function() -> None:
    index = SliceIndex(ROOT)
    index.put_function(function("f1", "f1-a"))
    index.put_gateway(gateway(("default", "g1"), every=True))
    assert index.put_function(function("f2", "f2-a")) == {("default", "g1")}
    assert {"edgefunctions.extensions.apoxy.dev//f1", "edgefunctions.extensions.apoxy.dev//f2"} <= names(
        index, ("default", "g1")
    )


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        ({"conditions": [{"type": "Ready"}]}, {}, True),
        ({"servingRevision": "f-a"}, {"servingRevision": "f-b"}, True),
        ({"traffic": [{"revision": "f-a", "ready": True, "url": "x"}]}, {"traffic": [{"revision": "f-a"}]}, True),
        ({"traffic": [{"revision": "f-a"}]}, {"traffic": [{"revision": "f-b"}]}, False),
        ({"liveRevision": "f-a"}, {"liveRevision": "f-b"}, False),
    ],
)
def test_what_nodes_say_of_a_function_is_no_news_to_nodes(before: Any, after: Any, *, is_same: bool) -> None:
    states = [
        {"metadata": {"name": "f", "resourceVersion": str(index)}, "spec": {}, "status": status}
        for index, status in enumerate((before, after))
    ]
    one, other = (shown("edgefunctions.extensions.apoxy.dev", state) for state in states)
    assert (one == other) is is_same


def test_the_code_that_an_object_brings_is_told() -> None:
    document = {"metadata": {"name": "r"}, "spec": {}, "status": {"artifact": {"digest": "sha256:1"}, "toolchain": "x"}}
    found = shown("edgefunctionrevisions.extensions.apoxy.dev", document)
    assert found.digest == "sha256:1"
    assert b"toolchain" not in found.content
