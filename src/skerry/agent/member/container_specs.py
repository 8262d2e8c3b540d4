"""What a container of an application is made of: what its engine is told, and what tells it from others."""

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docker.types import LogConfig, Mount, Ulimit

from skerry.agent.member.documents import Application
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.instances import Instance
from skerry.agent.member.limits import FILES_MAX, PROCESSES_MAX, allowed, cpu_cores, memory_bytes
from skerry.agent.member.volumes import CONTAINERS, Mounted
from skerry.api.baetyl_application_services import Service, ServicePort

#: Marks what is ours, with the name of its node; the second names the application.
NODE_LABEL, APPLICATION_LABEL = "skerry.node", "skerry.application"
#: All that a container is made of, as a digest: what it is told, its image, and the layout of what it mounts.
SPEC_LABEL = "skerry.spec"
#: Of a container's log on disk, twice.
LOG_BYTES_MAX = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ContainerPolicy:
    """What this node lets containers do.

    Attributes:
        privileged: whether they may do all that this machine may.
        network: the engine's network for those that do not use the machine's own; "" for its default.
    """

    privileged: bool = False
    network: str = ""


@dataclass(frozen=True, slots=True)
class WantedContainer:
    """A container that is to run.

    Attributes:
        instance: that it is of.
        create: what its engine is told.
    """

    instance: Instance
    create: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the container."""
        return str(self.create["name"])


def wanted_container(
    instance: Instance, mounts: Sequence[Mounted], node: str, policy: ContainerPolicy
) -> WantedContainer:
    """Return the container of an instance; raises ApplicationError for one that may not run.

    Args:
        instance: that it is of.
        mounts: what it sees.
        node: this node's name.
        policy: what containers may.
    """
    application, service = instance.application, instance.service
    if not service.image:
        raise ApplicationError("it has no image")
    if service.security and service.security.privileged and not policy.privileged:
        raise ApplicationError("this node does not let containers be privileged")
    create: dict[str, Any] = {
        "image": service.image,
        "name": f"skerry-{node}-{instance.name}",
        "labels": {**(service.labels or {}), NODE_LABEL: node, APPLICATION_LABEL: application.name},
        "environment": instance.environment(node, CONTAINERS),
        "mounts": [Mount(f"/{each.place}", str(each.source), type="bind", read_only=each.read_only) for each in mounts],
        "devices": [f"{each.device_path}:{each.device_path}:{each.policy or 'rwm'}" for each in service.devices or ()],
        "hostname": service.hostname,
        "working_dir": service.working_dir,
        "privileged": bool(service.security and service.security.privileged),
        "restart_policy": _restart_policy(application),
        "ulimits": _ulimits(),
        "pids_limit": PROCESSES_MAX,
        "log_config": LogConfig(type="json-file", config={"max-size": str(LOG_BYTES_MAX), "max-file": "2"}),
        **_limits(service),
        **_network(application, service, policy),
    }
    if service.command:
        create["entrypoint"] = list(service.command)
    if service.args:
        create["command"] = list(service.args)
    return WantedContainer(instance, create)


def _network(application: Application, service: Service, policy: ContainerPolicy) -> dict[str, Any]:
    if service.host_network or application.host_network:
        return {"network_mode": "host"}
    ports = dict(_published(each) for each in service.ports or () if each.host_port)
    return {"ports": ports, **({"network_mode": policy.network} if policy.network else {})}


def _restart_policy(application: Application) -> dict[str, Any]:
    if not application.is_job:
        return {"Name": "always"}
    job = application.job_config
    if job is not None and job.restart_policy == "OnFailure":
        return {"Name": "on-failure", "MaximumRetryCount": job.backoff_limit if job.backoff_limit is not None else 6}
    return {"Name": "no"}


def _ulimits() -> list[Ulimit]:
    """Bound what a process may have by what this one may give: engines' own defaults are refused by some kernels."""
    bounds = {
        "nofile": allowed(resource.RLIMIT_NOFILE, FILES_MAX),
        "nproc": allowed(resource.RLIMIT_NPROC, PROCESSES_MAX),
    }
    return [Ulimit(name=name, soft=value, hard=value) for name, value in bounds.items()]


def _published(port: ServicePort) -> tuple[str, Any]:
    here: Any = (port.host_ip, port.host_port) if port.host_ip else port.host_port
    return f"{port.container_port}/{port.protocol.lower()}", here


def _limits(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if memory := memory_bytes(service):
        found["mem_limit"] = found["memswap_limit"] = memory
    if cores := cpu_cores(service):
        found["nano_cpus"] = int(cores * 10**9)
    return found
