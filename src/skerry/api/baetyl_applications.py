"""cloud.baetyl.io/v1alpha1: applications, which run on every node that their selector matches.

Owns the kind: its fields stand in `baetyl_application_spec`, what they must fulfil in `baetyl_application_rules`. An
application has no status: its revision in the log is a part of its version, and only a wish may raise that.
"""

from collections.abc import Iterator

from pydantic import Field

from skerry.api.baetyl_application_rules import APPLICATION_NAME_CHARACTERS_MAX, spec_errors
from skerry.api.baetyl_application_spec import ApplicationSpec
from skerry.api.baetyl_v1alpha1 import GROUP, VERSION, name_problems
from skerry.api.fields import FieldError, invalid
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import Resource


class Application(Resource):
    """Services that run on every node that a selector matches."""

    spec: ApplicationSpec = Field(default_factory=ApplicationSpec)
    """What runs, and where."""


#: Label of a yaml or helm application: the namespace on the node that it goes to.
CUSTOM_NAMESPACE_LABEL = "baetyl-custom-namespace"
RESERVED_NAMESPACES = ("baetyl-edge", "baetyl-edge-system")


def _validate(application: Application, old: Application | None) -> Iterator[FieldError]:
    spec = application.spec
    if old is None:
        yield from name_problems(application, APPLICATION_NAME_CHARACTERS_MAX)
    elif (spec.type, spec.system) != (old.spec.type, old.spec.system):
        yield invalid("spec.type", spec.type, "type and system can't be changed")
    place = (application.metadata.labels or {}).get(CUSTOM_NAMESPACE_LABEL)
    if place in RESERVED_NAMESPACES:
        yield invalid(f"metadata.labels[{CUSTOM_NAMESPACE_LABEL}]", place, "is a namespace of Baetyl's own")
    yield from spec_errors(spec)


APPLICATION = Kind(
    group=GROUP,
    version=VERSION,
    model=Application,
    plural="applications",
    namespaced=True,
    short_names=("app",),
    columns=(
        Column("Type", value_at(".spec.type"), description="container, function, helm or yaml."),
        Column("Selector", value_at(".spec.selector"), description="Labels of the nodes that run it."),
        Column("Mode", value_at(".spec.mode"), description="kube or native.", priority=1),
        Column("Description", value_at(".spec.description"), description="What it is.", priority=1),
    ),
    validate=_validate,
    selectable={"spec.type": lambda d: str(d["spec"].get("type", ""))},
    read_by="view",
    written_by="edit",
)
