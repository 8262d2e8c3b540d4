"""cloud.baetyl.io/v1alpha1: rollouts, which bring the nodes of one application to another, group by group. Ours.

Owns the fields and their rules. Does not own which nodes a group has (`fleet.index`), nor when the next group is let in
(`fleet.rollouts`). Both applications are there all the time, each with all that it mounts: so there is nothing to keep
aside, and going back is what going forward is.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.baetyl_application_rules import selector_text_errors
from skerry.api.baetyl_v1alpha1 import GROUP, VERSION, name_problems
from skerry.api.fields import FieldError, invalid, required, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, Int64, Model, Resource, Time

#: Groups of one rollout.
GROUPS_MAX = 50
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


class RolloutSpec(Model):
    """What replaces what, and how."""

    application: str
    """The application whose nodes are brought over."""
    target: str
    """The application that they run then. Its own selector is to be empty."""
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
    admitted_time: Time | None = None
    """When the last group was let in."""
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
    for name in ("application", "target"):
        if not getattr(spec, name):
            yield required(f"spec.{name}")
    if spec.application and spec.application == spec.target:
        yield invalid("spec.target", spec.target, "must be another application")
    if old is not None and (spec.application, spec.target) != (old.spec.application, old.spec.target):
        yield invalid("spec.target", spec.target, "application and target can't be changed: make another rollout")
    yield from _group_errors(spec.groups or [])


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


ROLLOUT = Kind(
    group=GROUP,
    version=VERSION,
    model=Rollout,
    plural="rollouts",
    namespaced=True,
    columns=(
        Column("Application", value_at(".spec.application"), description="The application."),
        Column("Target", value_at(".spec.target"), description="What replaces it."),
        Column("Phase", value_at(".status.phase"), description="How far it is."),
        Column("Admitted", value_at(".status.counts.admitted"), type="integer", description="Nodes let in."),
        Column("Succeeded", value_at(".status.counts.succeeded"), type="integer", description="Nodes that run it."),
        Column("Failed", value_at(".status.counts.failed"), type="integer", description="Nodes that failed."),
    ),
    validate=_validate,
    read_by="view",
    written_by="edit",
)
