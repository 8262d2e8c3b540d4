"""What this node tells of what it runs, in the words of Baetyl's reports: applications and their instances. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from skerry.api.model import Document

Status = Literal["Running", "Pending", "Failed", "Succeeded", "Unknown"]


@dataclass(frozen=True, slots=True)
class InstanceState:
    """One instance of a service.

    Attributes:
        name: unique on this node.
        service: that it is one of.
        status: what it does.
        cause: why it does not run; "" where it does.
        created: when it was first started, RFC 3339.
        cpu_cores: that it uses.
        memory_bytes: that it uses.
        pid: of its process; 0 for none.
    """

    name: str
    service: str
    status: Status
    cause: str = ""
    created: str = ""
    cpu_cores: float = 0.0
    memory_bytes: int = 0
    pid: int = 0


States = Callable[[], Sequence[InstanceState]]
"""Tells the present states of an application's instances."""


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """An application.

    Attributes:
        name: of the application.
        version: that runs, or that can't.
        workload: what it is: deployment, job, and so on.
        cause: why it can't run, where that is not for one of its instances.
        instances: what runs.
    """

    name: str
    version: str
    workload: str = "deployment"
    cause: str = ""
    instances: Sequence[InstanceState] = field(default_factory=tuple)

    @property
    def status(self) -> Status:
        """What the application does: as well as the worst of its instances."""
        found: set[Status] = {instance.status for instance in self.instances}
        if self.cause or "Failed" in found:
            return "Failed"
        for status in ("Pending", "Unknown", "Running"):
            if status in found:
                return status
        return "Succeeded" if found else "Pending"

    def document(self, host: str) -> Document:
        """Write it as reports have it; `host` names this machine."""
        causes = [self.cause, *(instance.cause for instance in self.instances)]
        return {
            "name": self.name,
            "version": self.version,
            "deployType": self.workload,
            "status": self.status,
            "cause": next((cause for cause in causes if cause), ""),
            "instances": {each.name: _instance(self.name, each, host) for each in self.instances},
        }


def _instance(application: str, state: InstanceState, host: str) -> Mapping[str, object]:
    return {
        "name": state.name,
        "appName": application,
        "serviceName": state.service,
        "nodeName": host,
        "status": state.status,
        "cause": state.cause,
        "createTime": state.created,
        "pid": state.pid,
        "usage": {"cpu": f"{state.cpu_cores:.3f}", "memory": str(state.memory_bytes)},
    }
