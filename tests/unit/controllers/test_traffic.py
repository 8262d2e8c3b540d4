from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision, EdgeFunctionRevisionStatus
from skerry.api.function_traffic import TrafficEntry, TrafficTarget
from skerry.api.model import Condition, ObjectMeta
from skerry.controllers.traffic import TrafficDecision, decide_traffic

NOW = "2026-01-01T00:00:00Z"
TEMPLATE = {"mode": "backend", "code": {"wasmSource": {"url": "https://example.com/f.wasm"}}}


def revision(name: str, ready: str = "True", *, mode: str = "backend", built: bool = True) -> EdgeFunctionRevision:
    conditions = [Condition(type="Ready", status=ready, last_transition_time=NOW, reason="R", message="no luck")]  # type: ignore[arg-type]
    status = EdgeFunctionRevisionStatus.model_validate(
        {"conditions": conditions, "artifact": {"digest": "sha256:" + "0" * 64, "size_bytes": 1} if built else None}
    )
    spec = {**TEMPLATE, "mode": mode}
    return EdgeFunctionRevision.model_validate({"metadata": ObjectMeta(name=name), "spec": spec, "status": status})


def decide(
    *entries: TrafficEntry, revisions: list[EdgeFunctionRevision], before: dict[str, int], latest: str | None = "f-9"
) -> TrafficDecision:
    function = EdgeFunction.model_validate({"metadata": {"name": "f"}, "spec": {"template": TEMPLATE}})
    function.spec.traffic = list(entries) or None
    function.status.traffic = [TrafficTarget(revision=name, percent=percent) for name, percent in before.items()]
    return decide_traffic(function, latest, {each.name: each for each in revisions})


def shares(decision: TrafficDecision) -> dict[str, int]:
    return {target.revision: target.percent for target in decision.targets if target.percent}


def test_without_traffic_the_latest_gets_all():
    decision = decide(revisions=[revision("f-9")], before={"f-4": 100})
    assert (shares(decision), decision.reason) == ({"f-9": 100}, "AsSpecified")


def test_tags_alone_leave_all_requests_to_the_latest():
    decision = decide(TrafficEntry(revision="f-4", tag="old"), revisions=[revision("f-9"), revision("f-4")], before={})
    assert shares(decision) == {"f-9": 100}
    assert [target.tag for target in decision.targets] == [None, "old"]


def test_shares_come_into_force_together_or_not_at_all():
    split = [TrafficEntry(latest=True, percent=90), TrafficEntry(revision="f-4", percent=10)]
    missing = decide(*split, revisions=[revision("f-9"), revision("f-5")], before={"f-5": 100})
    assert (shares(missing), missing.reason) == ({"f-5": 100}, "RevisionMissing")
    assert missing.message == "the function has no revision f-4"
    there = decide(*split, revisions=[revision("f-9"), revision("f-4")], before={"f-5": 100})
    assert (shares(there), there.reason) == ({"f-9": 90, "f-4": 10}, "AsSpecified")


def test_a_revision_that_failed_or_is_not_built_yet_is_named_with_the_reason():
    pin = TrafficEntry(revision="f-4", percent=100)
    failed = decide(pin, revisions=[revision("f-4", "False"), revision("f-5")], before={"f-5": 100})
    assert (failed.reason, failed.message) == ("RevisionFailed", "revision f-4 failed: no luck")
    waits = decide(pin, revisions=[revision("f-4", "Unknown", built=False), revision("f-5")], before={"f-5": 100})
    assert (shares(waits), waits.reason) == ({"f-5": 100}, "RevisionNotReady")


def test_what_serves_goes_on_while_it_is_built_anew():
    decision = decide(
        TrafficEntry(revision="f-4", percent=100), revisions=[revision("f-4", "Unknown")], before={"f-4": 100}
    )
    assert shares(decision) == {"f-4": 100}


def test_the_share_of_a_revision_that_is_gone_goes_to_the_others():
    split = [TrafficEntry(revision=f"f-{n}", percent=percent) for n, percent in ((4, 60), (5, 30), (6, 10))]
    decision = decide(*split, revisions=[revision("f-5"), revision("f-6")], before={"f-4": 60, "f-5": 30, "f-6": 10})
    assert shares(decision) == {"f-5": 75, "f-6": 25}
    assert decision.reason == "RevisionMissing"


def test_a_rollback_whose_revision_is_gone_does_not_bring_the_latest_back():
    decision = decide(TrafficEntry(revision="f-4", percent=100), revisions=[revision("f-9")], before={"f-4": 100})
    assert (shares(decision), decision.reason) == ({}, "RevisionMissing")


def test_a_tag_that_is_not_ready_hurts_no_share():
    decision = decide(
        TrafficEntry(latest=True, percent=100),
        TrafficEntry(revision="f-4", tag="old"),
        revisions=[revision("f-9")],
        before={},
    )
    assert (shares(decision), decision.reason) == ({"f-9": 100}, "RevisionMissing")


def test_a_tag_works_while_its_shares_wait():
    decision = decide(
        TrafficEntry(revision="f-5", percent=10, tag="next"),
        TrafficEntry(revision="f-4", percent=90),
        revisions=[revision("f-5"), revision("f-9")],
        before={"f-9": 100},
    )
    assert shares(decision) == {"f-9": 100}
    assert [(target.revision, target.tag) for target in decision.targets if target.tag] == [("f-5", "next")]


def test_a_tag_gives_no_address_to_a_revision_of_mode_filter():
    decision = decide(
        TrafficEntry(latest=True, percent=100),
        TrafficEntry(revision="f-4", tag="old"),
        revisions=[revision("f-9"), revision("f-4", mode="filter")],
        before={"f-9": 100},
    )
    assert (shares(decision), decision.reason) == ({"f-9": 100}, "ModesDiffer")
    assert not any(target.tag for target in decision.targets)


def test_revisions_of_different_modes_share_no_requests():
    decision = decide(
        TrafficEntry(latest=True, percent=50),
        TrafficEntry(revision="f-4", percent=50),
        revisions=[revision("f-9"), revision("f-4", mode="filter")],
        before={"f-9": 100},
    )
    assert (shares(decision), decision.reason) == ({"f-9": 100}, "ModesDiffer")
