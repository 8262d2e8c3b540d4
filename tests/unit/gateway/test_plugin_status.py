from typing import Any

from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginCode, WasmPluginGateway
from skerry.api.model import condition_of, from_document, pending
from skerry.gateway.decisions import PluginReport, no, yes
from skerry.gateway.plugin_status import MESSAGE_CHARACTERS_MAX, plugin_status, relevant
from skerry.gateway.snapshot import CLUSTER_TYPE, EXTENSION_TYPE, LISTENER_TYPE
from skerry.gateway.xds_stream import Rejection

FIRST, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
EDGE, INNER = ("default", "edge"), ("default", "inner")
DIGEST, OTHER_DIGEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
BINDING = "default/edge/127.0.0.1/80"


def plugin() -> WasmPlugin:
    document = {"metadata": {"name": "p", "namespace": "default", "generation": 2}, "spec": {"url": "file:///p.wasm"}}
    found = from_document(WasmPlugin, document)
    found.status.conditions = [pending("Accepted"), pending("Fetched")]
    return found


def report(**changes: Any) -> PluginReport:
    given: dict[str, Any] = {
        "accepted": yes("Accepted"),
        "resource": "default.p",
        "gateways": {EDGE: (BINDING,), INNER: ("default/inner/127.0.0.1/81",)},
        "digest": DIGEST,
    }
    return PluginReport(**(given | changes))


def refused(name: str = "default.p", type_url: str = EXTENSION_TYPE) -> Rejection:
    return Rejection(type_url, name, "v", "Envoy's own words")


def told(obj: WasmPlugin, condition_type: str) -> tuple[str, str, str]:
    condition = condition_of(obj.status.conditions, condition_type)
    assert condition is not None
    return condition.status, condition.reason, condition.message


def with_status(obj: WasmPlugin, report_: PluginReport, *rejections: Rejection, now: str = FIRST) -> WasmPlugin:
    status = plugin_status(obj, report_, relevant(report_, rejections), node="local", now=now)
    return obj.model_copy(update={"status": status})


def test_a_plugin_that_every_gateway_took_is_ready() -> None:
    done = with_status(plugin(), report())
    assert {kind: told(done, kind)[0] for kind in ("Accepted", "Programmed", "Ready")} == {
        "Accepted": "True",
        "Programmed": "True",
        "Ready": "True",
    }
    assert [(g.name, g.node, g.programmed, g.digest) for g in done.status.gateways or ()] == [
        ("edge", "local", "True", DIGEST),
        ("inner", "local", "True", DIGEST),
    ]
    assert done.status.observed_generation == 2


def test_what_others_write_stays() -> None:
    before = plugin()
    before.status.code = WasmPluginCode(
        digest=DIGEST, size_bytes=1, url="u", source="s", pulled_for="p", resolved_at=FIRST
    )
    elsewhere = WasmPluginGateway(namespace="default", name="edge", node="far", programmed="True", digest=DIGEST)
    before.status.gateways = [elsewhere]
    done = with_status(before, report())
    assert done.status.code == before.status.code
    assert told(done, "Fetched") == told(before, "Fetched")
    assert elsewhere in (done.status.gateways or ())


def test_a_refusal_is_told_at_its_gateways_with_what_runs_still() -> None:
    running = with_status(plugin(), report())
    done = with_status(running, report(digest=OTHER_DIGEST), refused(), now=LATER)
    assert [(g.programmed, g.digest, g.message) for g in done.status.gateways or ()] == [
        ("False", DIGEST, "Envoy's own words")
    ] * 2
    assert told(done, "Programmed")[:2] == ("False", "Invalid")
    assert told(done, "Ready")[:2] == ("False", "Invalid")
    assert "default/edge on local: Envoy's own words" in told(done, "Ready")[2]


def test_a_refusal_at_first_leaves_no_module_running() -> None:
    done = with_status(plugin(), report(), refused())
    assert [g.digest for g in done.status.gateways or ()] == [None, None]


def test_a_plugin_on_trial_is_pending() -> None:
    on_trial = Rejection(EXTENSION_TYPE, "default.p", "", "being tried", pending=True)
    done = with_status(plugin(), report(), on_trial)
    assert [g.programmed for g in done.status.gateways or ()] == ["Unknown", "Unknown"]
    assert told(done, "Ready")[:2] == ("False", "Pending")


def test_a_refused_listener_is_told_at_its_own_gateway_only() -> None:
    done = with_status(plugin(), report(), refused(BINDING, LISTENER_TYPE))
    assert [g.programmed for g in done.status.gateways or ()] == ["False", "True"]


def test_the_refusals_of_others_are_not_this_plugins() -> None:
    others = refused("default.q"), refused(BINDING, CLUSTER_TYPE), refused("default/other/127.0.0.1/80", LISTENER_TYPE)
    assert relevant(report(), others) == ()


def test_an_obstacle_is_the_reason_of_every_condition_that_it_keeps_from_holding() -> None:
    obstacle = no("Programmed", "CodeUnavailable", "404")
    done = with_status(plugin(), report(obstacle=obstacle, digest=None))
    assert told(done, "Programmed") == told(done, "Ready") == ("False", "CodeUnavailable", "404")
    assert told(done, "Accepted")[0] == "True"


def test_a_plugin_that_is_not_accepted_is_not_ready_for_that_reason() -> None:
    accepted = no("Accepted", "TargetNotFound", "no such Gateway")
    done = with_status(plugin(), report(accepted=accepted, gateways={}, obstacle=no("Programmed", "NoMatchingGateway")))
    assert told(done, "Ready") == ("False", "TargetNotFound", "no such Gateway")


def test_saying_the_same_again_changes_nothing() -> None:
    once = with_status(plugin(), report())
    assert with_status(once, report(), now=LATER).status == once.status


def test_words_of_any_length_fit() -> None:
    long = Rejection(EXTENSION_TYPE, "default.p", "v", "x" * 10 * MESSAGE_CHARACTERS_MAX)
    done = with_status(plugin(), report(), long)
    assert all(len(g.message or "") == MESSAGE_CHARACTERS_MAX for g in done.status.gateways or ())
    from_document(WasmPlugin, done.model_dump(mode="json", by_alias=True, exclude_none=True))
