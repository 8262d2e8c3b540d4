"""The spec of applications of cloud.baetyl.io/v1alpha1. Names and shapes are those of Baetyl Cloud's API."""

from typing import Annotated, Literal

from pydantic import Field

from skerry.api.baetyl_application_services import Service, Volume
from skerry.api.model import LIST_ATOMIC, Int32, Model, list_map

ApplicationType = Literal["container", "function", "helm", "yaml"]


class Registry(Model):
    """Names the credentials for a registry of images."""

    name: str
    """A Secret with the label secret-type=registry."""


class JobConfig(Model):
    """How a job runs."""

    completions: Annotated[int, Field(ge=1)] | None = None
    """How many instances must succeed."""
    parallelism: Annotated[int, Field(ge=0)] | None = None
    """How many run at once."""
    backoff_limit: Annotated[int, Field(ge=0)] | None = None
    """How many failures end it."""
    restart_policy: Literal["Never", "OnFailure"] = "Never"
    """What happens to an instance that fails."""


class ScaleResource(Model):
    """A resource by which an application is scaled."""

    name: str
    """cpu or memory."""
    target_type: str | None = None
    """Utilization, AverageValue or Value."""
    value: str | None = None
    """For Value."""
    average_value: str | None = None
    """For AverageValue."""
    average_utilization: Int32 | None = None
    """For Utilization: percent."""


class ScaleMetric(Model):
    """A metric by which an application is scaled."""

    type: str = "Resource"
    """Resource."""
    resource: ScaleResource | None = None
    """The resource."""


class AutoScale(Model):
    """Scales an application by what it uses."""

    min_replicas: Int32
    """The least number of instances."""
    max_replicas: Int32
    """The greatest number of instances."""
    metrics: Annotated[list[ScaleMetric] | None, LIST_ATOMIC] = None
    """What is measured."""


class ApplicationSpec(Model):
    """What runs, and where."""

    type: ApplicationType = "container"
    """container, function, helm or yaml. Defaults to container."""
    mode: Literal["kube", "native"] = "kube"
    """For nodes that run kube, or native ones. Defaults to kube."""
    selector: str = ""
    """Labels of the nodes that run it, in Kubernetes' grammar; an empty one matches no node."""
    description: str = ""
    """What it is, for people."""
    system: bool = False
    """Whether it is a part of Baetyl itself."""
    services: Annotated[list[Service] | None, list_map("name")] = None
    """What runs."""
    init_services: Annotated[list[Service] | None, list_map("name")] = None
    """What runs before, each to its end."""
    volumes: Annotated[list[Volume] | None, list_map("name")] = None
    """Files that services can mount."""
    registries: Annotated[list[Registry] | None, list_map("name")] = None
    """Credentials for its images."""
    node_selector: str = ""
    """Labels of the machines in a cluster that run it."""
    replica: Annotated[int, Field(ge=0)] | None = None
    """Instances of it."""
    workload: Literal["deployment", "daemonset", "statefulset", "job"] = "deployment"
    """What it is to Kubernetes. Defaults to deployment."""
    job_config: JobConfig | None = None
    """How a job runs."""
    host_network: bool = False
    """Whether it uses the network of its machine."""
    dns_policy: str = "ClusterFirst"
    """How names are resolved. Defaults to ClusterFirst."""
    cron_status: Annotated[int, Field(ge=0, le=2)] = 0
    """0: starts at once; 1: waits for `cronTime`, on no node; 2: that has come."""
    cron_time: str | None = None
    """When it starts, where `cronStatus` is 1; RFC 3339."""
    auto_scale_cfg: AutoScale | None = None
    """Scales it by what it uses."""
    ota: dict[str, str] | None = None
    """For updates over the air."""
    preserve_updates: bool = False
    """Whether a node keeps what was changed on it."""
