"""cloud.baetyl.io/v1alpha1: rollouts, which bring the nodes of one application to another, group by group. Ours.

Owns the fields and their rules. Does not own which nodes a group has (`fleet.index`), nor when the next group is let in
(`fleet.rollouts`). Both applications are there all the time, each with all that it mounts: so there is nothing to keep
aside, and going back is what going forward is.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from skerry.api.baetyl_application_rules import selector_text_errors
from skerry.api.baetyl_v1alpha1 import GROUP, VERSION, name_problems
from skerry.api.fields import FieldError, invalid, required, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, Int64, Model, Resource, Time

#: Groups of one rollout.
GROUPS_MAX = 50
#: Configurations that one rollout exchanges.
REPLACEMENTS_MAX = 50
#: Steps that are remembered of one rollout.
HISTORY_MAX = 20

Percentage = Annotated[int, Field(ge=0, le=100)]
Phase = Literal["Progressing", "Paused", "AwaitingApproval", "Complete", "RolledBack"]


class RolloutGroup(Model):
    """Nodes that are brought to the new application together."""

    name: str = ""
    """What it is called, for people."""
    selector: str = ""
    """Labels of its nodes, in Kubernetes' grammar."""
    percentage: Percentage | None = None
    """The share of all nodes that have been brought over when this group has: instead of a selector."""
    approval: bool = False
    """Whether somebody has to let it in, by `approvedGroups`."""


class Replacement(Model):
    """A configuration that another one stands in for: files of an application, or the code of its functions."""

    configuration: str
    """The one that the application mounts."""
    by: str
    """The one that nodes get in its place."""


class RolloutSpec(Model):
    """What replaces what, and how."""

    application: str
    """The application whose nodes are brought over."""
    target: str = ""
    """The application that they run then. Its own selector is to be empty."""
    replaces: Annotated[list[Replacement] | None, LIST_ATOMIC] = None
    """Instead of a target: configurations that are exchanged. The application with the others is made, and follows."""
    groups: Annotated[list[RolloutGroup] | None, LIST_ATOMIC] = None
    """Groups, in their order; all nodes that are in none follow at the end."""
    success_percentage: Percentage = 100
    """How many nodes of those that were let in must run the target before the next group is. Defaults to 100."""
    failure_percentage: Percentage = 0
    """With more failures than this among those that were let in, all go back. Defaults to 0: the first one does."""
    soak_seconds: Annotated[int, Field(ge=0, le=604_800)] = 0
    """How long a group must have succeeded before the next one is let in."""
    deadline_seconds: Annotated[int, Field(ge=1, le=604_800)] = 3600
    """A node that does not run the target so long after its group was let in has failed. Defaults to an hour."""
    nodes_per_minute: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    """How many nodes of a group are let in within a minute. All at once by default."""
    paused: bool = False
    """Lets in no further group, and takes none back."""
    approved_groups: Annotated[int, Field(ge=0)] = 0
    """Groups that were approved, counted from the first."""
    rolled_back: bool = False
    """Takes all groups back, whatever they report."""


class RolloutCounts(Model):
    """How the nodes that were let in do."""

    total: Int64 = 0
    """Nodes that run the application or its target."""
    arriving: Int64 = 0
    """The nodes of the group that was let in last."""
    admitted: Int64 = 0
    """Those of them that are to run the target."""
    succeeded: Int64 = 0
    """Those that report it as running."""
    failed: Int64 = 0
    """Those that report it as failed, or are late."""


class RolloutStep(Model):
    """Something that happened to a rollout."""

    time: Time
    """When."""
    phase: Phase
    """What it was from then on."""
    admitted_groups: int
    """The groups that were in."""
    message: str = ""
    """Why."""


class RolloutStatus(Model):
    """How far it is."""

    phase: Phase | None = None
    """Progressing, Paused, AwaitingApproval, Complete or RolledBack."""
    admitted_groups: Annotated[int, Field(ge=0)] = 0
    """How many groups have been let in; one more than there are, when all other nodes have."""
    arrived: Annotated[int, Field(ge=0, le=10_000)] = 10_000
    """How many nodes of the last group are in, in hundredths of a percent."""
    admitted_time: Time | None = None
    """When nodes were let in last."""
    succeeded_time: Time | None = None
    """Since when the groups that are in have succeeded."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this was made from."""
    counts: RolloutCounts = Field(default_factory=RolloutCounts)
    """How its nodes do."""
    history: Annotated[list[RolloutStep] | None, LIST_ATOMIC] = None
    """What happened, the newest last."""
    conditions: Conditions = None
    """Complete: whether all nodes run the target."""


class Rollout(Resource):
    """Brings the nodes of an application to another one, group by group."""

    spec: RolloutSpec
    """What replaces what, and how."""
    status: RolloutStatus = Field(default_factory=RolloutStatus)
    """How far it is."""


def _validate(rollout: Rollout, old: Rollout | None) -> Iterator[FieldError]:
    spec = rollout.spec
    if old is None:
        yield from name_problems(rollout)
    if not spec.application:
        yield required("spec.application")
    yield from _target_errors(rollout)
    if old is not None:
        now, before = ((each.application, each.target, each.replaces) for each in (spec, old.spec))
        if now != before:
            detail = "application, target and replaces can't be changed: make another rollout"
            yield invalid("spec.target", spec.target, detail)
    yield from _group_errors(spec.groups or [])


def _target_errors(rollout: Rollout) -> Iterator[FieldError]:
    spec = rollout.spec
    target = spec.target or rollout.name
    if bool(spec.target) == bool(spec.replaces):
        yield required("spec.target", "either a target or replaces")
    elif spec.application == target:
        yield invalid(
            "spec.target", target, "must be another application; one that replaces makes has the rollout's name"
        )
    if len(spec.replaces or ()) > REPLACEMENTS_MAX:
        yield too_many("spec.replaces", len(spec.replaces or ()), REPLACEMENTS_MAX)
    for index, each in enumerate(spec.replaces or ()):
        if not (each.configuration and each.by):
            yield required(f"spec.replaces[{index}]", "configuration and by")


def _group_errors(groups: list[RolloutGroup]) -> Iterator[FieldError]:
    before = 0
    if len(groups) > GROUPS_MAX:
        yield too_many("spec.groups", len(groups), GROUPS_MAX)
    for index, group in enumerate(groups):
        path = f"spec.groups[{index}]"
        if bool(group.selector) == (group.percentage is not None):
            yield invalid(path, group.name, "must have either a selector or a percentage")
        yield from selector_text_errors(f"{path}.selector", group.selector)
        if group.percentage is not None:
            if group.percentage < before:
                yield invalid(f"{path}.percentage", group.percentage, "must not be below that of a group before")
            before = group.percentage


def _target(document: dict[str, Any]) -> str:
    return str(document.get("spec", {}).get("target") or document["metadata"]["name"])


ROLLOUT = Kind(
    group=GROUP,
    version=VERSION,
    model=Rollout,
    plural="rollouts",
    namespaced=True,
    columns=(
        Column("Application", value_at(".spec.application"), description="The application."),
        Column("Target", _target, description="What replaces it."),
        Column("Phase", value_at(".status.phase"), description="How far it is."),
        Column("Admitted", value_at(".status.counts.admitted"), type="integer", description="Nodes let in."),
        Column("Succeeded", value_at(".status.counts.succeeded"), type="integer", description="Nodes that run it."),
        Column("Failed", value_at(".status.counts.failed"), type="integer", description="Nodes that failed."),
    ),
    validate=_validate,
    read_by="view",
    written_by="edit",
)
