"""What is told of a function and its revisions: their conditions, and what else their statuses say. Pure.

Owns the reasons of Ready, Latest, Traffic and Ingest, and when `Ready` moves. Each function changes a status in place,
and is given the time as RFC 3339.

Invariant: a condition stands once; `Ready` of a function is True only for what the gateway has in force.
"""

from collections.abc import Sequence
from typing import Literal

from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision
from skerry.api.function_traffic import TrafficTarget, live_of
from skerry.api.model import Condition, condition_of, with_condition
from skerry.controllers.builds import Built
from skerry.controllers.traffic import AS_SPECIFIED, NOT_READY, TrafficDecision

MESSAGE_CHARACTERS_MAX = 4096

_UNDER_WAY = frozenset(("Building", "Retrying"))


def tell_ingesting(revision: EdgeFunctionRevision, toolchain: str, now: str) -> None:
    """Say that a revision is being built, and by what; one whose last try failed goes on to say why."""
    revision.status.toolchain = toolchain
    _set(revision, now, "Ingest", "True", "InProgress")
    ready = condition_of(revision.status.conditions, "Ready")
    if ready is None or ready.reason != "Retrying":
        _set(revision, now, "Ready", "Unknown", "Building")


def tell_failed(revision: EdgeFunctionRevision, message: str, now: str) -> None:
    """Say that a revision's source is at fault."""
    _set(revision, now, "Ingest", "False", "Failed")
    _set(revision, now, "Ready", "False", "Failed", message)


def tell_delayed(revision: EdgeFunctionRevision, message: str, now: str) -> None:
    """Say that a build is going to be tried again."""
    _set(revision, now, "Ready", "Unknown", "Retrying", f"the build will be tried again: {message}")


def tell_superseded(revision: EdgeFunctionRevision, now: str) -> None:
    """Say that nobody waits for a revision any more."""
    _set(revision, now, "Ready", "Unknown", "Superseded", "not built: the function's template has moved on")


def tell_ready(revision: EdgeFunctionRevision, built: Built, now: str) -> None:
    """Say that a revision is built, checked and stored."""
    revision.status.ref = revision.name
    revision.status.artifact = built.artifact
    revision.status.source = built.source
    _set(revision, now, "Ingest", "False", "Completed")
    _set(revision, now, "Ready", "True", "Ready", built.note)


def tell_function(
    function: EdgeFunction,
    latest: EdgeFunctionRevision,
    latest_ready: str | None,
    decision: TrafficDecision,
    now: str,
) -> None:
    """Write a function's status: what was decided, and what has become of the latest revision."""
    status = function.status
    live = live_of(decision.targets)
    if status.live_revision not in {None, live}:
        status.previous_revision = status.live_revision
    status.traffic = _with_the_nodes_words(decision.targets, status.traffic or ())
    status.live_revision, status.latest_ready_revision = live, latest_ready
    status.observed_generation = function.metadata.generation
    as_specified = decision.reason == AS_SPECIFIED
    _set(function, now, "Traffic", "True" if as_specified else "False", decision.reason, decision.message)
    told = _latest(function, latest)
    _set(function, now, "Latest", *told)
    if ready := _ready(function, told, decision):
        _set(function, now, "Ready", *ready)


_Told = tuple[Literal["True", "False"], str, str]
"""Status, reason and message of a condition."""


def _latest(function: EdgeFunction, latest: EdgeFunctionRevision) -> _Told:
    ready = condition_of(latest.status.conditions, "Ready")
    if ready is None or ready.status == "Unknown":
        if ready and ready.reason == "Retrying":
            return "False", "Retrying", f"revision {latest.name}: {ready.message}"
        return "False", "Building", f"revision {latest.name} is being built"
    if ready.status == "False":
        return "False", "Failed", f"revision {latest.name} failed: {ready.message}"
    if any(target.percent and target.revision == latest.name for target in function.status.targets):
        return "True", "Live", ""
    return "True", "Ready", f"spec.traffic sends no requests to revision {latest.name}"


def _ready(function: EdgeFunction, latest: _Told, decision: TrafficDecision) -> _Told | None:
    """Return what `Ready` is to say; None where it stays, so that `kubectl wait` waits for the build or the switch."""
    _, reason, message = latest
    live = function.status.live_revision
    before = condition_of(function.status.conditions, "Ready")
    if live is None and reason in _UNDER_WAY:
        first = before is None or before.reason in _UNDER_WAY
        return ("False", reason, message) if first else None
    if live is None:
        return ("False", "Failed", message) if reason == "Failed" else ("False", decision.reason, decision.message)
    if function.status.serving_revision is None:
        refused = condition_of(function.status.conditions, "Programmed")
        why = f"routed to: {refused.message}" if refused and refused.status == "False" else "yet routed to"
        return "False", "WaitingForGateway", f"revision {live} is not {why}"
    in_force = all(target.ready for target in function.status.targets if target.percent)
    if reason in _UNDER_WAY or decision.reason == NOT_READY or not in_force:
        return None
    problems = [message] if reason == "Failed" else []
    if decision.reason != AS_SPECIFIED:
        problems.append(f"spec.traffic is not in force: {decision.message}")
    return "True", "Ready", "; ".join([f"revision {live} serves", *problems]) if problems else ""


def _with_the_nodes_words(targets: Sequence[TrafficTarget], before: Sequence[TrafficTarget]) -> list[TrafficTarget]:
    """Return targets with what the node has told of those that stay as they were."""
    known = {target.identity: target for target in before}
    found = []
    for target in targets:
        same = known.get(target.identity)
        found.append(target.model_copy(update={"url": same.url, "ready": same.ready}) if same else target)
    return found


def _set(
    obj: EdgeFunction | EdgeFunctionRevision,
    now: str,
    condition_type: str,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str = "",
) -> None:
    condition = Condition(
        type=condition_type,
        status=status,
        observed_generation=obj.metadata.generation,
        last_transition_time=now,
        reason=reason,
        message=message[:MESSAGE_CHARACTERS_MAX],
    )
    obj.status.conditions = with_condition(obj.status.conditions, condition)
