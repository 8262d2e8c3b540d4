"""The translator never raises, and does not depend on the order of what it is given."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.apoxy_core_v1alpha2 import BACKEND
from skerry.api.apoxy_extensions_direct_response import DIRECT_RESPONSE
from skerry.api.decoding import decode
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.gateway_http_route_v1 import HTTP_ROUTE
from skerry.api.gateway_v1 import CONTROLLER_NAME, DEFAULT_FUNCTIONS_LABEL, GATEWAY, GATEWAY_CLASS
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN
from skerry.api.istio_request_authentication_v1 import REQUEST_AUTHENTICATION
from skerry.api.kinds import Kind
from skerry.gateway.envoy_config import EdgeSettings
from skerry.gateway.envoy_snapshot import SnapshotBuilder, build_snapshot
from skerry.gateway.resources import HeldPlugin, NodeFacts, Resources, plugins_by_key
from skerry.gateway.snapshot import Snapshot
from skerry.gateway.translate import Translator, translate

# Few names, so that objects meet; objects are decoded, not validated: the translator trusts no rule.
NAMES = st.sampled_from(["a", "b", "a.b"])
HOSTS = st.sampled_from(["a.test", "*.test", "*.a.test", "test", "a.functions.localhost"])
NAMESPACES = st.sampled_from(["default", "other"])
PORTS = st.sampled_from([80, 8080, 8443])
TEXTS = st.text(max_size=12)
PATHS = st.one_of(st.sampled_from(["", "/", "/a", "/a/", "/a/b", "//"]), TEXTS)
TIMES = st.sampled_from([None, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])
HEADER_NAMES = st.sampled_from(["X-A", "x-a", "Host", "x-skerry-revision"])


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, max_size=3)


def metadata(*, namespaced: bool) -> st.SearchStrategy[dict[str, Any]]:
    labels = st.sampled_from([{}, {DEFAULT_FUNCTIONS_LABEL: "true"}])
    more = {"namespace": NAMESPACES} if namespaced else {}
    return st.fixed_dictionaries({"name": NAMES, **more}, optional={"creationTimestamp": TIMES, "labels": labels})


BACKEND_REF = st.fixed_dictionaries(
    {
        "name": NAMES,
        "group": st.sampled_from(["", "core.apoxy.dev", "extensions.apoxy.dev"]),
        "kind": st.sampled_from(["Service", "Backend", "EdgeFunction"]),
    },
    optional={"port": PORTS, "namespace": NAMESPACES},
)
HEADERS = lists(st.fixed_dictionaries({"name": HEADER_NAMES, "value": st.text(min_size=1, max_size=8)}))
MODIFIER = optional(set=HEADERS, add=HEADERS, remove=lists(HEADER_NAMES))
PATH_CHANGE = st.fixed_dictionaries(
    {"type": st.sampled_from(["ReplaceFullPath", "ReplacePrefixMatch"])},
    optional={"replaceFullPath": TEXTS, "replacePrefixMatch": PATHS},
)
FILTER = st.fixed_dictionaries(
    {"type": st.sampled_from(["RequestHeaderModifier", "URLRewrite", "RequestRedirect", "ExtensionRef"])},
    optional={
        "requestHeaderModifier": MODIFIER,
        "responseHeaderModifier": MODIFIER,
        "urlRewrite": optional(path=PATH_CHANGE),
        "requestRedirect": optional(path=PATH_CHANGE, scheme=st.sampled_from(["http", "https"]), port=PORTS),
        "requestMirror": st.fixed_dictionaries(
            {"backendRef": BACKEND_REF},
            optional={"fraction": st.just({"numerator": 7, "denominator": 3}), "percent": st.just(1)},
        ),
        "extensionRef": st.fixed_dictionaries(
            {
                "group": st.just("extensions.apoxy.dev"),
                "kind": st.sampled_from(["DirectResponse", "EdgeFunction", "Odd"]),
                "name": NAMES,
            }
        ),
    },
)
VALUE_MATCH = st.fixed_dictionaries(
    {"name": HEADER_NAMES, "value": st.text(min_size=1, max_size=8)},
    optional={"type": st.sampled_from(["Exact", "RegularExpression"])},
)
MATCH = optional(
    path=optional(type=st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]), value=PATHS),
    headers=lists(VALUE_MATCH),
    queryParams=lists(VALUE_MATCH),
    method=st.sampled_from(["GET", "POST"]),
)
RULE = optional(
    matches=lists(MATCH),
    filters=lists(FILTER),
    backendRefs=lists(
        BACKEND_REF.flatmap(
            lambda ref: optional(weight=st.integers(0, 3), filters=lists(FILTER)).map(lambda m: ref | m)
        )
    ),
    timeouts=optional(request=st.sampled_from(["0s", "1s"]), backendRequest=st.sampled_from(["1s", "1h"])),
)
PARENT = st.fixed_dictionaries(
    {"name": NAMES}, optional={"namespace": NAMESPACES, "sectionName": NAMES, "port": PORTS, "kind": st.just("Service")}
)
ROUTE = optional(parentRefs=lists(PARENT), hostnames=lists(HOSTS), rules=st.lists(RULE, min_size=1, max_size=3))
LISTENER = st.fixed_dictionaries(
    {"name": NAMES, "port": PORTS, "protocol": st.sampled_from(["HTTP", "HTTPS", "TCP"])},
    optional={
        "hostname": HOSTS,
        "tls": st.just({"certificateRefs": [{"name": "a"}]}),
        "allowedRoutes": st.sampled_from(
            [
                {"namespaces": {"from": "All"}},
                {"namespaces": {"from": "Selector"}},
                {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}},
                {"kinds": [{"kind": "GRPCRoute"}]},
            ]
        ),
    },
)
GATEWAYS = st.fixed_dictionaries(
    {
        "gatewayClassName": st.sampled_from(["ours", "ours", "theirs"]),
        "listeners": st.lists(LISTENER, min_size=1, max_size=3),
    },
    optional={
        "addresses": lists(
            st.sampled_from([{"value": "127.0.0.1"}, {"value": "::1"}, {"type": "Hostname", "value": "a"}, {}])
        )
    },
)
FUNCTIONS = st.fixed_dictionaries(
    {
        "template": st.fixed_dictionaries(
            {"code": st.just({}), "mode": st.sampled_from(["backend", "filter"])},
            optional={"runtime": st.just({"timeout": "5s"})},
        )
    }
)
BACKENDS = optional(
    endpoints=lists(st.sampled_from([{"ip": "10.0.0.1"}, {"fqdn": "a.test"}, {}])),
    protocol=st.sampled_from(["", "tls", "h2", "h2c", "odd"]),
    dynamicProxy=st.just({}),
)


TARGET = st.fixed_dictionaries(
    {"kind": st.sampled_from(["Gateway", "GatewayClass", "Service"]), "name": st.sampled_from(["a", "b", "ours"])},
    optional={"group": st.just("gateway.networking.k8s.io")},
)
PLUGINS = st.fixed_dictionaries(
    {"url": st.just("file:///a.wasm")},
    optional={
        "selector": optional(matchLabels=st.sampled_from([{}, {DEFAULT_FUNCTIONS_LABEL: "true"}, {"zone": "a"}])),
        "targetRefs": lists(TARGET),
        "phase": st.sampled_from(["AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE"]),
        "priority": st.integers(-1, 1),
        "type": st.sampled_from(["HTTP", "NETWORK"]),
        "failStrategy": st.sampled_from(["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]),
        "match": lists(
            optional(mode=st.sampled_from(["CLIENT", "SERVER"]), ports=lists(st.fixed_dictionaries({"number": PORTS})))
        ),
        "pluginConfig": st.dictionaries(TEXTS, TEXTS, max_size=2),
    },
)


WHERE = {
    "selector": optional(matchLabels=st.sampled_from([{}, {"zone": "a"}])),
    "targetRefs": lists(TARGET),
}
TOKENS = optional(
    jwtRules=lists(
        st.sampled_from(
            [
                {"issuer": "a", "jwksUri": "https://a.test/keys"},
                {"issuer": "b", "jwksUri": "http://[::1]:81/", "fromCookies": ["c"]},
                {"issuer": "c", "jwks": '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "%s"}]}' % ("A" * 43)},
            ]
        )
    ),
    **WHERE,
)
PRINCIPALS = st.sampled_from(["*", "a/b/c", "a/*", "*/b", "a", "/"])
RULE = optional(
    **{"from": st.builds(lambda p: [{"source": {"requestPrincipals": [p], "notPrincipals": [p]}}], PRINCIPALS)},
    to=st.sampled_from([[{"operation": {"hosts": ["*.a"], "notPorts": ["80"], "paths": ["/a*"]}}]]),
    when=st.sampled_from([[{"key": "source.ip", "values": ["::1", "10.1.2.3/8"]}, {"key": "destination.port"}]]),
)
POLICIES = optional(action=st.sampled_from(["ALLOW", "DENY", "AUDIT", "CUSTOM"]), rules=lists(RULE), **WHERE)


def held_plugins() -> st.SearchStrategy[Any]:
    ways = st.sampled_from([{"code": "/a.wasm"}, {"code": "/a.wasm", "waiting": True}, {"waiting": True}, {}])
    plugin = st.builds(lambda plugin, way: HeldPlugin(plugin, **way), objects_of(WASM_PLUGIN, PLUGINS), ways)
    return st.lists(plugin, max_size=3, unique_by=lambda held: (held.plugin.namespace, held.plugin.name)).map(
        plugins_by_key
    )


def objects(kind: Kind[Any], spec: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(objects_of(kind, spec, **more), max_size=3).map(tuple)


def objects_of(kind: Kind[Any], spec: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    document = st.fixed_dictionaries({"metadata": metadata(namespaced=kind.namespaced), "spec": spec}, optional=more)
    return document.map(lambda d: decode(kind, d).object)


SHARES = lists(
    optional(percent=st.integers(0, 100), tag=st.sampled_from(["a", "b"])).map(lambda s: {"revision": "a-1", **s})
)
STATUSES = optional(traffic=SHARES).map(lambda status: {"liveRevision": "a-4", **status})

CLASSES = tuple(
    decode(GATEWAY_CLASS, {"metadata": {"name": name}, "spec": {"controllerName": controller}}).object
    for name, controller in (("ours", CONTROLLER_NAME), ("theirs", "example.com/theirs"))
)
RESOURCES = st.builds(
    Resources,
    gateway_classes=st.just(CLASSES),
    gateways=objects(GATEWAY, GATEWAYS),
    http_routes=objects(HTTP_ROUTE, ROUTE),
    backends=objects(BACKEND, BACKENDS),
    direct_responses=objects(DIRECT_RESPONSE, st.just({})),
    functions=objects(EDGE_FUNCTION, FUNCTIONS, status=STATUSES),
    plugins=held_plugins(),
    authentications=objects(REQUEST_AUTHENTICATION, TOKENS),
    policies=objects(AUTHORIZATION_POLICY, POLICIES),
    namespace_labels=st.just({"other": {"a": "b"}}),
    node=st.just(NodeFacts(engine_sockets=("/run/worker.sock",), labels={"zone": "a"}, root_namespace="other")),
)
EDGE = EdgeSettings(access_log="/dev/null")


@given(RESOURCES)
@settings(max_examples=150, deadline=None)
def test_any_resources_translate_and_can_be_written_for_envoy(resources: Resources) -> None:
    translation = translate(resources)
    build_snapshot(translation.ir, EDGE)
    ours = {(g.namespace, g.name) for g in resources.gateways if g.spec.gateway_class_name == "ours"}
    assert translation.conditions.gateways.keys() == ours
    for table in translation.ir.tables:
        hosts = [host.hostname for host in table.hosts]
        assert len(hosts) == len(set(hosts))
    clusters = {cluster.name for cluster in translation.ir.clusters}
    named = {c.table for binding in translation.ir.bindings for c in binding.chains}
    assert named == {table.name for table in translation.ir.tables}
    chains = [chain for binding in translation.ir.bindings for chain in binding.chains]
    uses = {use.plugin for chain in chains for use in chain.plugins}
    assert uses == translation.ir.plugins.keys()
    for destination in _destinations(translation.ir):
        assert destination == "broken" or destination in clusters


def _destinations(model: Any) -> list[str]:
    routes = [route for table in model.tables for host in table.hosts for route in host.routes]
    forwards = [route.action for route in routes if hasattr(route.action, "destinations")]
    found = [d.cluster for forward in forwards for d in forward.destinations]
    return found + [mirror.cluster for forward in forwards for mirror in forward.mirrors]


@given(RESOURCES, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_resources_does_not_matter(resources: Resources, random: Any) -> None:
    def unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple({(item.namespace, item.name): item for item in items}.values())

    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(random.sample(items, len(items)))

    fields = (
        "gateways",
        "http_routes",
        "backends",
        "direct_responses",
        "functions",
        "authentications",
        "policies",
    )
    distinct: dict[str, Any] = {name: unique(getattr(resources, name)) for name in fields}
    turned: dict[str, Any] = {name: shuffled(items) for name, items in distinct.items()}
    same: dict[str, Any] = {"gateway_classes": CLASSES, "node": resources.node}
    one = Resources(**distinct, plugins=resources.plugins, **same)
    other = Resources(**turned, plugins=plugins_by_key(shuffled(tuple(resources.plugins.values()))), **same)
    assert translate(one) == translate(other)


@given(st.lists(st.tuples(RESOURCES, st.booleans()), min_size=2, max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_was_translated_before_does_not_matter(states: list[tuple[Resources, bool]]) -> None:
    translator, builder = Translator(), SnapshotBuilder(EDGE)
    before = states[0][0]
    for given_now, only_plugins in states:
        resources = replace(before, plugins=given_now.plugins) if only_plugins else given_now
        translation = translator.translate(resources)
        assert translation == translate(resources)
        assert builder.build(translation.ir) == build_snapshot(translation.ir, EDGE)
        before = resources


def test_a_changed_plugin_leaves_everything_else_the_very_same() -> None:
    def plugin(name: str, header: str) -> HeldPlugin:
        spec = {"url": "file:///p.wasm", "pluginConfig": {"header": header}}
        document = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
        return HeldPlugin(decode(WASM_PLUGIN, document).object, "/p.wasm")

    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    document = {
        "metadata": {"name": "edge", "namespace": "default"},
        "spec": {"gatewayClassName": "ours", "listeners": listeners},
    }
    resources = Resources(gateway_classes=CLASSES, gateways=(decode(GATEWAY, document).object,))
    other = plugin("other", "1")
    translator, builder = Translator(), SnapshotBuilder(EDGE)

    def turn(header: str) -> Snapshot:
        return builder.build(
            translator.translate(replace(resources, plugins=plugins_by_key([plugin("a", header), other]))).ir
        )

    one, two = turn("1"), turn("2")
    changed = [
        name
        for type_url, found in two.resources.items()
        for name, resource in found.items()
        if one.resources[type_url][name] is not resource
    ]
    assert changed == ["default.a"]
    assert two.users is one.users
    assert sum(len(found) for found in two.resources.values()) == 5


@pytest.mark.parametrize(
    "status",
    [
        {"liveRevision": "a\n"},
        {"liveRevision": "a-1", "traffic": [{"revision": "\r", "percent": 100}]},
        {"liveRevision": "a-1", "traffic": [{"revision": "a-1", "percent": 100, "tag": "\0"}]},
    ],
)
def test_a_function_whose_status_names_what_has_no_name_is_one_without_a_status(status: dict[str, Any]) -> None:
    spec = {"template": {"mode": "backend", "code": {"wasmSource": {"url": "https://a.test/f.wasm"}}}}
    gateway = {
        "metadata": {"name": "edge", "namespace": "default", "labels": {DEFAULT_FUNCTIONS_LABEL: "true"}},
        "spec": {"gatewayClassName": "ours", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }

    def translated(told: dict[str, Any]) -> Any:
        function = decode(EDGE_FUNCTION, {"metadata": {"name": "a"}, "spec": spec, "status": told}).object
        gateways = (decode(GATEWAY, gateway).object,)
        return translate(Resources(gateway_classes=CLASSES, gateways=gateways, functions=(function,)))

    assert translated(status) == translated({})
    assert translated({"liveRevision": "a-1"}) != translated({})
