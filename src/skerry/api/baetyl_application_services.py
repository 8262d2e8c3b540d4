"""The services and volumes of applications of cloud.baetyl.io/v1alpha1: what runs, and the files that it mounts."""

from typing import Annotated

from pydantic import Field

from skerry.api.model import LIST_ATOMIC, FreeForm, Model, list_map

Number = Annotated[int, Field(ge=0)]
PortNumber = Annotated[int, Field(ge=0, le=65535)]


class VolumeMount(Model):
    """Mounts a volume into a service."""

    name: str
    """Name of the volume."""
    mount_path: str = ""
    """Where it is in the service."""
    sub_path: str | None = None
    """A part of the volume instead of the whole."""
    read_only: bool = False
    """Whether the service may not write it."""
    immutable: bool = False
    """Whether users may not change it."""
    auto_clean: bool = False
    """Whether the node removes its objects once they are not used."""


class ServicePort(Model):
    """A port of a service."""

    container_port: PortNumber = 0
    """The port on which the service listens."""
    host_port: PortNumber = 0
    """The port of the machine that leads to it; 0 for none."""
    protocol: str = "TCP"
    """TCP, UDP or SCTP. Defaults to TCP."""
    host_ip: str | None = Field(default=None, alias="hostIP")
    """The address of the machine that leads to it."""
    service_type: str | None = None
    """ClusterIP or NodePort."""
    node_port: PortNumber | None = None
    """For NodePort: the port of every machine."""


class Device(Model):
    """A device of the machine."""

    device_path: str
    """Where it is."""
    policy: str | None = None
    """r, rw, w or m."""
    description: str | None = None
    """What it is."""


class EnvVar(Model):
    """A variable of the environment."""

    name: str
    """Name of the variable."""
    value: str = ""
    """Its value."""


class Resources(Model):
    """What one instance may use."""

    limits: dict[str, str] | None = None
    """At most; cpu and memory."""
    requests: dict[str, str] | None = None
    """At least."""


class Security(Model):
    """What an instance may."""

    privileged: bool = False
    """Whether it may do all that its machine may."""


class FunctionConfig(Model):
    """What runs the functions of a service."""

    name: str = ""
    """The configuration that holds their code."""
    runtime: str = ""
    """The runtime, such as python3."""


class ServiceFunction(Model):
    """A function of a service."""

    name: str
    """Name of the function."""
    handler: str = ""
    """Its entry."""
    codedir: str = ""
    """Its folder in the package of code."""


class ProgramConfig(Model):
    """The program of a service on a native node."""

    name: str
    """The configuration that holds it."""


class Service(Model):
    """What runs."""

    name: str
    """Name of the service."""
    image: str = ""
    """Image of a container; of a function, it follows from the runtime."""
    image_pull_policy: str | None = None
    """Always, IfNotPresent or Never."""
    type: str | None = None
    """What the service is to Kubernetes."""
    hostname: str | None = None
    """Name of its machine, as it sees it."""
    replica: Number = 1
    """How many instances run. Defaults to 1."""
    labels: dict[str, str] | None = None
    """Labels of its instances."""
    volume_mounts: Annotated[list[VolumeMount] | None, list_map("name")] = None
    """The volumes that it mounts."""
    ports: Annotated[list[ServicePort] | None, LIST_ATOMIC] = None
    """Its ports."""
    devices: Annotated[list[Device] | None, LIST_ATOMIC] = None
    """Devices of the machine that it may use."""
    command: Annotated[list[str] | None, LIST_ATOMIC] = None
    """What is started instead of the image's own entry."""
    args: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Arguments."""
    working_dir: str | None = None
    """Where it is started."""
    env: Annotated[list[EnvVar] | None, list_map("name")] = None
    """Variables of the environment."""
    resources: Resources | None = None
    """What one instance may use."""
    runtime: str | None = None
    """The runtime of containers."""
    restart: FreeForm | None = None
    """When it is started again."""
    security: Security | None = None
    """What an instance may."""
    host_network: bool = False
    """Whether it uses the network of its machine."""
    function_config: FunctionConfig | None = None
    """What runs its functions."""
    functions: Annotated[list[ServiceFunction] | None, list_map("name")] = None
    """Its functions."""
    program_config: ProgramConfig | None = None
    """Its program on a native node."""
    liveness_probe: FreeForm | None = None
    """Tells whether it lives: a Probe of Kubernetes."""
    readiness_probe: FreeForm | None = None
    """Tells whether it can work: a Probe of Kubernetes."""
    startup_probe: FreeForm | None = None
    """Tells whether it has started: a Probe of Kubernetes."""


class HostPath(Model):
    """A path of the machine."""

    path: str = ""
    """The path."""
    type: str | None = None
    """What must be there, in Kubernetes' words."""


class ObjectVersion(Model):
    """Names a configuration or a secret."""

    name: str
    """Its name."""
    version: str | None = None
    """Ignored in what clients send; nodes are told the version that they are to have."""


class EmptyDir(Model):
    """An empty folder that lives as long as the instance."""

    medium: str | None = None
    """Memory, or the disk by default."""
    size_limit: str | None = None
    """How much it takes."""


class Volume(Model):
    """Files that services can mount: one of hostPath, config, secret and emptyDir."""

    name: str
    """Name of the volume."""
    host_path: HostPath | None = None
    """A path of the machine."""
    config: ObjectVersion | None = None
    """The files of a Configuration."""
    secret: ObjectVersion | None = None
    """The keys of a Secret."""
    empty_dir: EmptyDir | None = None
    """An empty folder."""
