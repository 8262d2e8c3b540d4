"""Which revisions of a function get its requests: what is asked for, as far as it can be had. Pure.

    decide_traffic(function, latest_ready, revisions) -> TrafficDecision

Owns the condition Traffic with its reasons. Does not own what is in force (the node tells), nor the percentages that
may be asked for (`api.function_traffic`).

Invariants: shares come into force all together or not at all: until each of their revisions is ready, the shares from
before stay, whatever is wrong with the new ones. No revision gets a request that neither the spec names nor was named
by what is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision
from skerry.api.function_template import FILTER
from skerry.api.function_traffic import WHOLE_PERCENT, TrafficEntry, TrafficTarget, scaled, wanted_traffic
from skerry.api.model import condition_of, is_true

AS_SPECIFIED = "AsSpecified"
#: Reasons that pass by themselves.
NOT_READY = "RevisionNotReady"


@dataclass(frozen=True, slots=True)
class TrafficDecision:
    """What was decided.

    Attributes:
        targets: shares and tags, for `status.traffic`; `url` and `ready` are the node's to tell.
        reason: AsSpecified, or why something is not as it was asked for.
        message: the same for a person; "" where all is as it was asked for.
    """

    targets: tuple[TrafficTarget, ...]
    reason: str = AS_SPECIFIED
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Wish:
    """An entry of the spec with the revision that it stands for, and why that can't serve ("" where it can)."""

    entry: TrafficEntry
    revision: str
    reason: str = ""
    message: str = ""

    @property
    def target(self) -> TrafficTarget:
        entry = self.entry
        return TrafficTarget(revision=self.revision, latest=entry.latest, percent=entry.percent, tag=entry.tag)


def named_revisions(function: EdgeFunction) -> set[str]:
    """Return every revision that a function's requests may go to, by its spec or its status: none may be removed."""
    asked = {entry.revision for entry in function.spec.traffic or () if entry.revision}
    status = function.status
    others = {status.live_revision, status.serving_revision, status.latest_ready_revision} - {None}
    return asked | {target.revision for target in status.targets} | {name for name in others if name}


def can_stay(revision: EdgeFunctionRevision | None) -> bool:
    """Tell whether a revision that serves may go on: it was built once; one that is built anew has its code yet."""
    return revision is not None and revision.status.artifact is not None


def decide_traffic(
    function: EdgeFunction, latest_ready: str | None, revisions: Mapping[str, EdgeFunctionRevision]
) -> TrafficDecision:
    """Decide who gets a function's requests.

    Args:
        function: with what was decided before in its status.
        latest_ready: the newest revision that is ready; None where there is none.
        revisions: those that the function owns, by name.
    """
    wishes = [_wish(entry, latest_ready, revisions) for entry in wanted_traffic(function.spec.traffic)]
    refused = [wish for wish in wishes if wish.reason]
    reason, message = (refused[0].reason, "; ".join(dict.fromkeys(w.message for w in refused))) if refused else ("", "")
    if not any(wish.entry.percent for wish in refused):
        modes = {revisions[wish.revision].spec.mode for wish in wishes if wish.entry.percent}
        if len(modes) <= 1:
            targets = [wish.target for wish in wishes if not wish.reason]
            return TrafficDecision(tuple(targets), reason or AS_SPECIFIED, message)
        reason, message = "ModesDiffer", "revisions of mode backend and of mode filter can't share requests"
    tags = [TrafficTarget(revision=w.revision, tag=w.entry.tag) for w in wishes if w.entry.tag and not w.reason]
    return TrafficDecision((*_kept(function, revisions), *tags), reason, message)


def _wish(entry: TrafficEntry, latest_ready: str | None, revisions: Mapping[str, EdgeFunctionRevision]) -> _Wish:
    """Say what an entry stands for, and what is in its way."""
    if entry.latest:
        if latest_ready is None:
            return _Wish(entry, "", NOT_READY, "no revision is ready yet")
        return _addressed(entry, revisions[latest_ready])
    name = entry.revision or ""
    revision = revisions.get(name)
    if revision is None:
        return _Wish(entry, name, "RevisionMissing", f"the function has no revision {name}")
    if is_true(revision.status.conditions, "Ready"):
        return _addressed(entry, revision)
    ready = condition_of(revision.status.conditions, "Ready")
    if ready is not None and ready.status == "False":
        return _Wish(entry, name, "RevisionFailed", f"revision {name} failed: {ready.message}")
    return _Wish(entry, name, NOT_READY, f"revision {name} is not ready yet")


def _addressed(entry: TrafficEntry, revision: EdgeFunctionRevision) -> _Wish:
    """Take a tag away from a revision that has no address of its own: it would be called as what it is not."""
    if not entry.tag or revision.spec.mode != FILTER:
        return _Wish(entry, revision.name)
    if entry.percent:
        return _Wish(entry.model_copy(update={"tag": None}), revision.name)
    message = f"revision {revision.name} is of mode filter, and has no address that a tag could name"
    return _Wish(entry, revision.name, "ModesDiffer", message)


def _kept(function: EdgeFunction, revisions: Mapping[str, EdgeFunctionRevision]) -> Sequence[TrafficTarget]:
    """Return the shares from before, without those of revisions that are gone; the others take theirs over."""
    before = [t for t in function.status.targets if t.percent and can_stay(revisions.get(t.revision))]
    if not before:
        return ()
    percents = scaled([target.percent or 0 for target in before], WHOLE_PERCENT)
    return [
        TrafficTarget(revision=target.revision, latest=target.latest, percent=percent)
        for target, percent in zip(before, percents, strict=True)
    ]
