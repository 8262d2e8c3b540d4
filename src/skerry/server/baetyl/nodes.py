"""Nodes: what they are, what they are to run, and what they reported."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_v1alpha1 import (
    ACCELERATOR_LABEL,
    CLUSTER_LABEL,
    CONNECTIONS,
    NODE,
    NODE_MODE_LABEL,
    Node,
    NodeCore,
    NodeMode,
    NodeProperty,
    NodeReport,
    NodeSpec,
    connection_of,
)
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import Document, ObjectMeta, is_true, to_document
from skerry.fleet.applications import application_summary
from skerry.fleet.node_stats import report_view
from skerry.kit.clock import Clock, rfc3339
from skerry.server.baetyl import errors
from skerry.server.baetyl.bodies import Body, Texts
from skerry.server.baetyl.door import Asked, Described, Operation, success
from skerry.server.baetyl.fleet import Fleet
from skerry.server.baetyl.listing import LIST_QUERY, Listing, listed
from skerry.server.http import Response
from skerry.server.operations import json

_COLLECTION = "/v1/nodes"
_ITEM = "/v1/nodes/{name}"
#: Nodes that are asked for by name at once.
BATCH_NAMES_MAX = 20
#: Labels that tell what other members of a node's view tell.
_TOLD_OTHERWISE = frozenset({ACCELERATOR_LABEL, CLUSTER_LABEL, NODE_MODE_LABEL})


class NodeBody(Body):
    """A node as it is created or replaced."""

    name: str = ""
    labels: Texts = None
    annotations: Texts = None
    description: str = ""
    node_mode: NodeMode = "kube"
    cluster: bool = False
    accelerator: str = ""
    sys_apps: list[str] | None = None
    attributes: Texts = Field(default=None, alias="attr")
    link: str = ""
    core_id: str = ""


class NamesBody(Body):
    """Names of nodes."""

    names: list[str] = Field(max_length=BATCH_NAMES_MAX)


class ModeBody(Body):
    """Who decides what a node runs."""

    mode: Literal["cloud", "local"]


class PropertyState(Body):
    """Values of properties: null takes one away."""

    desire: dict[str, str | None] = Field(default_factory=dict)


class PropertiesBody(Body):
    """Properties as they are set."""

    state: PropertyState = Field(default_factory=PropertyState)


class CoreBody(Body):
    """How the agent of a node works."""

    version: str | None = None
    frequency: int = NodeCore.model_fields["frequency"].default
    api_port: int = Field(default=NodeCore.model_fields["api_port"].default, alias="apiport")
    agent_port: int = Field(default=NodeCore.model_fields["agent_port"].default, alias="agentport")
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    byte_unit: Literal["KB", "MB"] = "KB"
    speed_limit: int = 0


class Nodes:
    """The handlers of nodes.

    Args:
        fleet: tells what they are to run.
        clock: for the times of properties.
    """

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        node, nodes = Described("Node"), Described("NodeList", query=(*LIST_QUERY, "ready", "cluster", "createSort"))
        return [
            Operation("POST", _COLLECTION, "create", NODE, self.create, Described("Node", NodeBody)),
            Operation("GET", _COLLECTION, "list", NODE, self.list, nodes),
            Operation("PUT", _COLLECTION, "list", NODE, self.batch, Described("NodeList", NamesBody, ("batch",))),
            Operation("GET", _ITEM, "get", NODE, self.get, node),
            Operation("PUT", _ITEM, "update", NODE, self.replace, Described("Node", NodeBody)),
            Operation("DELETE", _ITEM, "delete", NODE, self.delete),
            Operation("GET", f"{_ITEM}/stats", "get", NODE, self.stats, node),
            Operation("GET", f"{_ITEM}/apps", "get", NODE, self.apps, Described("ApplicationList")),
            Operation("GET", f"{_ITEM}/deploys", "get", NODE, self.deploys),
            Operation("GET", f"{_ITEM}/functions", "get", NODE, self.functions, Described("Functions")),
            Operation("PUT", f"{_ITEM}/mode", "update", NODE, self.set_mode, Described("Success", ModeBody)),
            Operation("GET", f"{_ITEM}/properties", "get", NODE, self.properties, Described("Properties")),
            Operation(
                "PUT",
                f"{_ITEM}/properties",
                "update",
                NODE,
                self.set_properties,
                Described("Properties", PropertiesBody),
            ),
            Operation("GET", f"{_ITEM}/core/configs", "get", NODE, self.core, Described("Core")),
            Operation("PUT", f"{_ITEM}/core/configs", "update", NODE, self.set_core, Described("Core", CoreBody)),
            Operation("GET", "/v1/fleet/summary", "list", NODE, self.summary, Described("Summary")),
            Operation("GET", f"{_ITEM}/core/versions", "get", NODE, self.core_versions, Described("Versions")),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create a node."""
        body = await asked.body(NodeBody)
        if not body.name:
            raise errors.invalid("name is required")
        node = Node(metadata=ObjectMeta(name=body.name, labels=body.labels, annotations=body.annotations))
        node.spec = NodeSpec.model_validate(_spec(body))
        try:
            return json(node_view(await asked.objects.create(node)))
        except AlreadyExists as error:
            raise errors.invalid("this name is already in use") from error

    async def list(self, asked: Asked) -> Response:
        """List nodes."""
        return json(await listed(asked, Listing(Node, node_view, hides_system=False, keeps=_kept)))

    async def batch(self, asked: Asked) -> Response:
        """Get nodes by their names; those that are not there are left out."""
        if "batch" not in asked.request.query:
            raise errors.invalid("the query must have batch")
        body, found = await asked.body(NamesBody), []
        for name in dict.fromkeys(body.names):
            try:
                found.append(node_view(await asked.objects.get(Node, name)))
            except NotFound:
                continue
        return json({"total": len(found), "listOptions": {}, "items": found})

    async def get(self, asked: Asked) -> Response:
        """Get a node."""
        return json(node_view(await asked.objects.get(Node, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace labels, annotations and description of a node; it keeps what it is."""
        body = await asked.body(NodeBody)

        def change(node: Node) -> None:
            node.metadata.labels, node.metadata.annotations = body.labels, body.annotations
            node.spec.description = body.description
            for name in {"accelerator", "sys_apps", "attributes", "link", "core_id"} & body.model_fields_set:
                setattr(node.spec, name, getattr(body, name))

        return json(node_view(await asked.objects.change(Node, asked.name, change)))

    async def delete(self, asked: Asked) -> Response:
        """Delete a node; its applications stay."""
        await asked.objects.delete(Node, asked.name)
        return success()

    async def stats(self, asked: Asked) -> Response:
        """Get a node with what it reported last."""
        node = await asked.objects.get(Node, asked.name)
        view, report = node_view(node), await self._report(asked)
        return json({**view, "report": report_view(report, ready=view["ready"])} if report else view)

    async def _report(self, asked: Asked) -> Document:
        try:
            return (await asked.objects.get(NodeReport, asked.name)).report
        except NotFound:
            return {}

    async def apps(self, asked: Asked) -> Response:
        """List the applications that a node is to run: first the parts of Baetyl itself."""
        await asked.objects.get(Node, asked.name)
        desire = self._fleet.index.desire((asked.namespace, asked.name))
        found = []
        for wanted in (*desire.sysapps, *desire.apps):
            try:
                application = await asked.objects.get(Application, wanted.name)
            except NotFound:
                continue  # deleted in this very moment
            found.append(application_summary(application, wanted.version))
        return json({"total": len(found), "listOptions": None, "items": found})

    async def deploys(self, asked: Asked) -> Response:
        """Tell that a node is there; upstream keeps no history of deployments either."""
        await asked.objects.get(Node, asked.name)
        return success()

    async def functions(self, asked: Asked) -> Response:
        """List the functions that a node is to run, each as application/function."""
        await asked.objects.get(Node, asked.name)
        names: list[str] = []
        for wanted in self._fleet.index.desire((asked.namespace, asked.name)).apps:
            try:
                spec = (await asked.objects.get(Application, wanted.name)).spec
            except NotFound:
                continue  # deleted in this very moment
            services = (spec.services or ()) if spec.type == "function" else ()
            names += [f"{wanted.name}/{function.name}" for each in services for function in each.functions or ()]
        return json({"functions": names})

    async def set_mode(self, asked: Asked) -> Response:
        """Say who decides what a node runs: cloud, or local for nobody but itself."""
        body = await asked.body(ModeBody)

        def change(node: Node) -> None:
            node.spec.mode = body.mode

        await asked.objects.change(Node, asked.name, change)
        return success()

    async def properties(self, asked: Asked) -> Response:
        """Get the properties of a node, reported and desired."""
        node = await asked.objects.get(Node, asked.name)
        return json(await self._properties_view(asked, node))

    async def set_properties(self, asked: Asked) -> Response:
        """Set desired properties of a node; null takes one away."""
        body, now = await asked.body(PropertiesBody), rfc3339(self._clock.now())

        def change(node: Node) -> None:
            held = dict(node.spec.properties or {})
            for name, value in body.state.desire.items():
                if value is None:
                    held.pop(name, None)
                elif name not in held or held[name].value != value:
                    held[name] = NodeProperty.model_construct(value=value, time=now)
            node.spec.properties = held or None

        return json(await self._properties_view(asked, await asked.objects.change(Node, asked.name, change)))

    async def _properties_view(self, asked: Asked, node: Node) -> Document:
        desired, report = node.spec.properties or {}, await self._report(asked)
        found = report.get("nodeprops")
        reported: Document = found if isinstance(found, dict) else {}
        return {
            "state": {"report": reported, "desire": {name: each.value for name, each in desired.items()}},
            "metadata": {
                "report": dict.fromkeys(reported, str(report.get("time", ""))),
                "desire": {name: each.time or "" for name, each in desired.items()},
            },
        }

    async def core(self, asked: Asked) -> Response:
        """Get how the agent of a node works."""
        return json(_core_view((await asked.objects.get(Node, asked.name)).spec.core))

    async def set_core(self, asked: Asked) -> Response:
        """Set how the agent of a node works."""
        body = await asked.body(CoreBody)

        def change(node: Node) -> None:
            node.spec.core = NodeCore.model_construct(**body.model_dump())

        return json(_core_view((await asked.objects.change(Node, asked.name, change)).spec.core))

    async def summary(self, asked: Asked) -> Response:
        """Count the nodes by how they are connected, and the applications and their bindings."""
        connections, bound = self._fleet.connections(asked.namespace), self._fleet.index.summary(asked.namespace)
        told: Document = {name: connections[name] for name in CONNECTIONS}
        applications = {"total": bound["applications"], "incomplete": bound["incomplete"]}
        nodes = {"total": connections.total(), **told}
        return json({"nodes": nodes, "applications": applications, "bindings": bound["bindings"]})

    async def core_versions(self, asked: Asked) -> Response:
        """List the versions of the agent that a node can have: the one that it is to have."""
        core = (await asked.objects.get(Node, asked.name)).spec.core
        return json({"versions": [core.version] if core.version else []})


def node_view(node: Node) -> Document:
    """Write a node."""
    spec, meta = node.spec, node.metadata
    written: Document = {
        "name": node.name,
        "namespace": node.namespace,
        "version": meta.resource_version,
        "createTime": meta.creation_timestamp,
        "labels": {key: value for key, value in (meta.labels or {}).items() if key not in _TOLD_OTHERWISE},
        "annotations": meta.annotations or {},
        "description": spec.description,
        "ready": is_true(node.status.conditions, "Ready"),
        "cluster": spec.cluster,
        "mode": spec.mode,
        "nodeMode": spec.node_mode,
    }
    more: Document = {
        "accelerator": spec.accelerator,
        "sysApps": spec.sys_apps,
        "attr": spec.attributes,
        "link": spec.link,
        "coreId": spec.core_id,
    }
    return written | {name: value for name, value in more.items() if value}


def _spec(body: NodeBody) -> dict[str, Any]:
    return body.model_dump(exclude={"name", "labels", "annotations"})


def _core_view(core: NodeCore) -> Document:
    document = to_document(core)
    return {**document, "apiport": document.pop("apiPort"), "agentport": document.pop("agentPort")}


def _kept(asked: Asked) -> Callable[[Node], bool] | None:
    """Return which nodes a request asks for by `ready` and `cluster`; None for all."""
    ready, cluster = asked.query("ready"), asked.query("cluster")
    if ready and ready not in CONNECTIONS:
        raise errors.invalid(f"ready must be one of {', '.join(CONNECTIONS)}")
    if cluster and cluster not in {"single", "cluster"}:
        raise errors.invalid("cluster must be single or cluster")
    if not ready and not cluster:
        return None

    def keeps(node: Node) -> bool:
        return (not ready or connection_of(node) == ready) and (
            not cluster or node.spec.cluster == (cluster == "cluster")
        )

    return keeps
