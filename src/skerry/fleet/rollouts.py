"""Rollouts: how the nodes do that were let in, and what is next. Pure.

What is next follows from the spec, the status before and the reports, so that a restart changes nothing.
"""

import datetime as dt
import math
from collections.abc import Iterable
from typing import Any

from skerry.api.baetyl_rollouts import (
    HISTORY_MAX,
    Phase,
    Rollout,
    RolloutCounts,
    RolloutStatus,
    RolloutStep,
)
from skerry.api.model import Condition, with_condition
from skerry.api.selectors import parse_label_selector
from skerry.fleet.shifts import ARRIVAL_PLACES, Admitted, Shift
from skerry.kit.clock import from_rfc3339, rfc3339

#: Phases that nothing follows by itself.
ENDED = ("Complete", "RolledBack")
#: What `nodesPerMinute` counts.
_RATE_SECONDS = 60.0
#: Steps in which a group is let in: each is a write.
_STEPS_MAX = 100


def target_of(rollout: Rollout) -> str:
    """Return the application that nodes are brought to: the one that is named, or that which the rollout makes."""
    return rollout.spec.target or rollout.name


def shift_of(rollout: Rollout) -> Shift:
    """Return what a rollout does to the nodes of its application, as far as it is."""
    status, target = rollout.status, target_of(rollout)
    whole, last = _admitted(rollout, status.admitted_groups - 1), _admitted(rollout, status.admitted_groups)
    return Shift(rollout.spec.application, target, rollout.uid, whole, last, status.arrived)


def _admitted(rollout: Rollout, count: int) -> Admitted:
    groups = rollout.spec.groups or []
    admitted = groups[: max(0, count)]
    return Admitted(
        tuple(parse_label_selector(group.selector) for group in admitted if group.selector),
        max((group.percentage or 0 for group in admitted), default=0),
        everyone=count > len(groups),
    )


def counted(total: int, states: Iterable[str], *, arriving: int = 0, late: bool) -> RolloutCounts:
    """Count the nodes that are in by what they report of the target; late ones that do not run it have failed."""
    counts = RolloutCounts(total=total, arriving=arriving)
    for state in states:
        counts.admitted += 1
        counts.succeeded += state == "Running"
        counts.failed += state == "Failed" or (late and state != "Running")
    return counts


def is_late(rollout: Rollout, now: dt.datetime) -> bool:
    """Tell whether the group that was let in last should be running the target by now."""
    begun = rollout.status.admitted_time
    return begun is not None and now >= from_rfc3339(begun) + dt.timedelta(seconds=rollout.spec.deadline_seconds)


def next_status(rollout: Rollout, counts: RolloutCounts, now: dt.datetime) -> RolloutStatus:
    """Return how far a rollout is, now that its nodes do so.

    Args:
        rollout: with its status before.
        counts: of its nodes, as far as the status before let them in.
        now: the time.
    """
    spec, before = rollout.spec, rollout.status
    status = before.model_copy(deep=True)
    status.counts, status.observed_generation = counts, rollout.metadata.generation
    if before.phase == "RolledBack" or (before.phase == "Complete" and not spec.rolled_back):
        return status
    if why := _failure(rollout, counts):
        return _stepped(status, "RolledBack", 0, why, now)
    if spec.paused:
        return _stepped(status, "Paused", before.admitted_groups, "paused by its spec", now)
    if before.admitted_groups and before.arrived < ARRIVAL_PLACES:
        return _arrived(rollout, status, now)
    succeeds = counts.succeeded * 100 >= counts.admitted * spec.success_percentage
    status.succeeded_time = (before.succeeded_time or rfc3339(now)) if succeeds else None
    if before.admitted_groups and not (succeeds and _has_soaked(rollout, status, now)):
        return _stepped(status, "Progressing", before.admitted_groups, "nodes are brought over", now)
    return _next_group(rollout, status, now)


def _failure(rollout: Rollout, counts: RolloutCounts) -> str:
    """Return why all nodes go back; "" where they do not."""
    if rollout.spec.rolled_back:
        return "rolled back by its spec"
    if counts.failed * 100 > counts.admitted * rollout.spec.failure_percentage:
        return f"{counts.failed} of {counts.admitted} nodes failed"
    return ""


def _has_soaked(rollout: Rollout, status: RolloutStatus, now: dt.datetime) -> bool:
    """Tell whether success has lasted long enough; where no node is in yet, there is nothing to wait for."""
    since = status.succeeded_time
    if not status.counts.admitted:
        return True
    return since is not None and now >= from_rfc3339(since) + dt.timedelta(seconds=rollout.spec.soak_seconds)


def _arrived(rollout: Rollout, status: RolloutStatus, now: dt.datetime) -> RolloutStatus:
    """Let in as many more nodes of the last group as come in the time, of a minute at most: also after a pause."""
    rate, arriving = rollout.spec.nodes_per_minute, max(1, status.counts.arriving)
    if rate is None:  # it was taken away meanwhile
        status.arrived = ARRIVAL_PLACES
        return _stepped(status, "Progressing", status.admitted_groups, "nodes are let in", now)
    whole_now = rfc3339(now)  # as times are kept, so that no part of a second counts twice
    since = (from_rfc3339(whole_now) - from_rfc3339(status.admitted_time or whole_now)).total_seconds()
    nodes = rate * min(since, _RATE_SECONDS) / _RATE_SECONDS
    if nodes >= min(rate, max(1.0, arriving / _STEPS_MAX)):
        status.arrived = min(ARRIVAL_PLACES, status.arrived + math.ceil(nodes * ARRIVAL_PLACES / arriving))
        status.admitted_time = whole_now
    return _stepped(status, "Progressing", status.admitted_groups, "nodes are let in", now)


def _next_group(rollout: Rollout, status: RolloutStatus, now: dt.datetime) -> RolloutStatus:
    groups, count = rollout.spec.groups or [], status.admitted_groups
    if count > len(groups):
        return _stepped(status, "Complete", count, "all nodes run the target", now)
    if count < len(groups) and groups[count].approval and rollout.spec.approved_groups <= count:
        return _stepped(status, "AwaitingApproval", count, f"group {count + 1} waits for approvedGroups", now)
    name = groups[count].name or f"group {count + 1}" if count < len(groups) else "everyone"
    status.succeeded_time = None
    status.arrived = 0 if rollout.spec.nodes_per_minute else ARRIVAL_PLACES
    return _stepped(status, "Progressing", count + 1, f"{name} is let in", now)


def _stepped(status: RolloutStatus, phase: Phase, admitted: int, message: str, now: dt.datetime) -> RolloutStatus:
    """Note a step, where it is one."""
    if (status.phase, status.admitted_groups) == (phase, admitted):
        return status
    if admitted > status.admitted_groups:
        status.admitted_time = rfc3339(now)
    status.phase, status.admitted_groups = phase, admitted
    step = RolloutStep(time=rfc3339(now), phase=phase, admitted_groups=admitted, message=message)
    status.history = [*(status.history or ()), step][-HISTORY_MAX:]
    told: dict[str, Any] = {"type": "Complete", "reason": phase, "message": message}
    is_complete = Condition(
        **told, status="True" if phase == "Complete" else "False", last_transition_time=rfc3339(now)
    )
    status.conditions = with_condition(status.conditions, is_complete)
    return status
