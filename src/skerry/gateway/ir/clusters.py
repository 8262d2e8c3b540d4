"""Who answers requests, and how it is reached."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Protocol = Literal["http1", "h2c", "tls", "h2"]


@dataclass(frozen=True, slots=True)
class Host:
    """Where an upstream answers: a DNS name or IP address with a port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class NetworkCluster:
    """An upstream reached over TCP.

    Attributes:
        name: `backend/<name>/<port>`.
        hosts: requests are spread over them.
        protocol: how it is spoken to.
        dns: whether `hosts` has names to resolve.
    """

    name: str
    hosts: tuple[Host, ...]
    protocol: Protocol = "http1"
    dns: bool = False


@dataclass(frozen=True, slots=True)
class EngineCluster:
    """Processes of this node that answer, each on a Unix socket: its engine workers, or who calls functions.

    Attributes:
        name: of the cluster.
        sockets: their paths.
        use: whether they answer requests, or see them on their way (ext_proc).
    """

    name: str
    sockets: tuple[str, ...]
    use: Literal["answers", "filters"] = "answers"


@dataclass(frozen=True, slots=True)
class EmptyCluster:
    """A cluster without endpoints: every request is answered 503."""

    name: str


Cluster: TypeAlias = NetworkCluster | EngineCluster | EmptyCluster
