"""cloud.baetyl.io/v1alpha1: Node and NodeReport, and the names that the kinds of a fleet share.

Owns the fields and rules of nodes, and the labels that the system puts on them. Does not own which applications a
node is to run (`fleet.index`), nor what becomes of its reports. Sources: the API document of Baetyl Cloud, and its
code where the document is silent; choices between them: docs/reference/baetyl-api.md.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from skerry.api.fields import FieldError, invalid, not_supported, required, too_long, too_many
from skerry.api.kinds import Column, Kind, condition_status, value_at
from skerry.api.model import LIST_ATOMIC, LIST_SET, Conditions, FreeForm, Model, Resource, Time, condition_of

GROUP = "cloud.baetyl.io"
VERSION = "v1alpha1"

#: A name becomes a label's value (`baetyl-node-name`), so it is no longer than one.
NAME_CHARACTERS_MAX = 63
NAME_CHARACTERS_MIN = 2
#: Node properties are copied into every report and delta.
PROPERTIES_MAX = 200
PROPERTY_CHARACTERS_MAX = 4096

#: Marks what Skerry makes for nodes; lists leave it out unless their selector names it.
SYSTEM_LABEL = "baetyl-cloud-system"
NODE_NAME_LABEL = "baetyl-node-name"
NODE_MODE_LABEL = "baetyl-node-mode"
CLUSTER_LABEL = "baetyl-cluster"
ACCELERATOR_LABEL = "baetyl-accelerator"
#: The application that an object was made for.
APP_NAME_LABEL = "baetyl-app-name"
RESERVED_WORD = "baetyl"

NodeMode = Literal["kube", "native", "android"]
Connection = Literal["online", "offline", "uninstall"]
CONNECTIONS: tuple[Connection, ...] = get_args(Connection)
ACCELERATORS = ("nvidia", "jetson", "ascend", "bitmain", "cambricon", "kunlun")
#: The parts of a node that it can do without; the others it always has.
OPTIONAL_SYSTEM_APPS = ("baetyl-function", "baetyl-rule", "baetyl-ekuiper", "baetyl-accelerator-metrics")

#: How often a node reports, where nothing else is said.
REPORT_SECONDS_DEFAULT = 20
#: How much later than it should a report may come before its node counts as silent.
REPORT_GRACE_SECONDS = 20


class NodeProperty(Model):
    """A value that the cloud gives to a node."""

    value: Annotated[str, Field(max_length=PROPERTY_CHARACTERS_MAX)]
    """The value."""
    time: Time | None = None
    """When it was set."""


class NodeCore(Model):
    """How the agent of a node works."""

    version: str | None = None
    """The version of the agent; the newest by default."""
    frequency: Annotated[int, Field(ge=1, le=300)] = REPORT_SECONDS_DEFAULT
    """Seconds between two reports. Defaults to 20."""
    api_port: Annotated[int, Field(ge=1024, le=65535)] = 30050
    """The port of the agent's own API on the node."""
    agent_port: Annotated[int, Field(ge=1024, le=65535)] = 30080
    """The port of the agent for the node's programs."""
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    """What the agent logs."""
    byte_unit: Literal["KB", "MB"] = "KB"
    """What `speedLimit` counts."""
    speed_limit: Annotated[int, Field(ge=0)] = 0
    """How much the agent downloads in a second; 0 for any amount."""


class NodeSpec(Model):
    """What a node is, and what it is to be."""

    description: str = ""
    """What it is, for people."""
    node_mode: NodeMode = "kube"
    """How it runs applications: kube, native (processes and containers of its own) or android."""
    cluster: bool = False
    """Whether it is a cluster of machines."""
    accelerator: str = ""
    """The accelerator that it has: nvidia, jetson, ascend, bitmain, cambricon, kunlun or none."""
    sys_apps: Annotated[list[str] | None, LIST_SET] = None
    """The optional parts of Baetyl that it runs."""
    mode: Literal["cloud", "local"] = "cloud"
    """Who decides what it runs: cloud, or local for nobody but itself."""
    attributes: dict[str, str] | None = None
    """What programs keep beside it."""
    link: str = ""
    """How it is connected."""
    core_id: str = ""
    """The identity of its core."""
    core: NodeCore = Field(default_factory=NodeCore)
    """How its agent works."""
    properties: dict[str, NodeProperty] | None = None
    """Values that the cloud gives to it."""


class NodeStatus(Model):
    """The present state of a node."""

    conditions: Conditions = None
    """Ready: whether it reports in time. IdentityConflict: whether two agents report as this node."""
    certificates_after: Time | None = None
    """Certificates that were made up to this moment are revoked."""


class Node(Resource):
    """A device, or a cluster of them, that runs applications."""

    spec: NodeSpec = Field(default_factory=NodeSpec)
    """What it is, and what it is to be."""
    status: NodeStatus = Field(default_factory=NodeStatus)
    """The present state."""


class Reporter(Model):
    """An agent that reported as a node."""

    identity: str
    """What tells it from others: of its certificate and its machines."""
    time: Time
    """When it was last heard of."""


class NodeReport(Resource):
    """What a node reported last, under the node's own name: apart from it, since it changes all the time."""

    time: Time
    """When the report came."""
    report: FreeForm = Field(default_factory=dict)
    """The report, as the node sent it."""
    reporters: Annotated[list[Reporter] | None, LIST_ATOMIC] = None
    """The agents that it came from lately; the newest first."""
    conflict_time: Time | None = None
    """When two agents were last seen to report as this node."""


def report_owner(report: NodeReport) -> str:
    """Return the uid of the node that a report is of; "" for none."""
    owners = report.metadata.owner_references
    return owners[0].uid if owners else ""


def connection_of(node: Node) -> Connection:
    """Tell how a node is connected: online, offline, or uninstall for one that never was."""
    condition = condition_of(node.status.conditions, "Ready")
    if condition is None or condition.status == "Unknown":
        return "uninstall"
    return "online" if condition.status == "True" else "offline"


def ready_seconds(core: NodeCore) -> int:
    """Return how long a node counts as ready after its last report."""
    return core.frequency + REPORT_GRACE_SECONDS


def name_problems(resource: Resource, characters_max: int = NAME_CHARACTERS_MAX) -> Iterator[FieldError]:
    """Yield what a name of this group breaks, beside the rules of Kubernetes' names.

    A name with `baetyl` in it is for what Skerry makes itself, which carries `SYSTEM_LABEL`; nodes are free of that.
    """
    name = resource.name
    if len(name) < NAME_CHARACTERS_MIN:
        yield invalid("metadata.name", name, f"must have at least {NAME_CHARACTERS_MIN} characters")
    if len(name) > characters_max:
        yield too_long("metadata.name", characters_max, "characters")
    if RESERVED_WORD in name.lower() and not is_system(resource) and not isinstance(resource, Node):
        detail = f'names with "{RESERVED_WORD}" are for objects that carry the label {SYSTEM_LABEL}=true'
        yield invalid("metadata.name", name, detail)


def is_system(resource: Resource) -> bool:
    """Tell whether an object is one that Skerry made for a node."""
    return (resource.metadata.labels or {}).get(SYSTEM_LABEL) == "true"


def _default_node(node: Node) -> None:
    """Put the system's labels on a node; a client's own values for them do not count."""
    spec, labels = node.spec, dict(node.metadata.labels or {})
    labels.pop(ACCELERATOR_LABEL, None)
    labels |= {NODE_NAME_LABEL: node.name, NODE_MODE_LABEL: spec.node_mode, CLUSTER_LABEL: str(spec.cluster).lower()}
    if spec.accelerator:
        labels[ACCELERATOR_LABEL] = spec.accelerator
    node.metadata.labels = labels


def _validate_node(node: Node, old: Node | None) -> Iterator[FieldError]:
    spec = node.spec
    if old is None:
        yield from name_problems(node)
    if spec.accelerator and spec.accelerator not in ACCELERATORS:
        yield not_supported("spec.accelerator", spec.accelerator, ACCELERATORS)
    for index, name in enumerate(spec.sys_apps or ()):
        if name not in OPTIONAL_SYSTEM_APPS:
            yield not_supported(f"spec.sysApps[{index}]", name, OPTIONAL_SYSTEM_APPS)
    properties = spec.properties or {}
    if len(properties) > PROPERTIES_MAX:
        yield too_many("spec.properties", len(properties), PROPERTIES_MAX)
    if "" in properties:
        yield required("spec.properties", "a property needs a name")
    if old is not None and (spec.node_mode, spec.cluster) != (old.spec.node_mode, old.spec.cluster):
        yield invalid("spec.nodeMode", spec.node_mode, "nodeMode and cluster can't be changed")


NODE = Kind(
    group=GROUP,
    version=VERSION,
    model=Node,
    plural="nodes",
    namespaced=True,
    columns=(
        Column("Ready", condition_status("Ready"), description="Whether it reports in time."),
        Column("Mode", value_at(".spec.nodeMode"), description="How it runs applications.", priority=1),
        Column("Description", value_at(".spec.description"), description="What it is.", priority=1),
    ),
    default=_default_node,
    validate=_validate_node,
    read_by="view",
    written_by="edit",
)


def _reported_apps(document: dict[str, Any]) -> int:
    apps = document.get("report", {}).get("apps")
    return len(apps) if isinstance(apps, list) else 0


NODE_REPORT = Kind(
    group=GROUP,
    version=VERSION,
    model=NodeReport,
    plural="nodereports",
    namespaced=True,
    columns=(
        Column("Reported", value_at(".time"), type="date", description="When the report came."),
        Column("Apps", _reported_apps, type="integer", description="The applications that it has."),
    ),
    read_by="view",
)
