"""What may be fetched, from where, and how much it may cost: the settings of every fetcher."""

from dataclasses import dataclass
from pathlib import Path

from skerry.kit.addresses import Network

#: Istio's limit of a module; Envoy holds a module in memory more than once.
CODE_BYTES_MAX = 256 * 1024 * 1024
#: One fetch in all, its retries, tokens and signatures included.
FETCH_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Settings of fetching."""

    code_bytes_max: int = CODE_BYTES_MAX
    """Limit of what is downloaded, and of what it unpacks to."""
    fetch_seconds_max: float = FETCH_SECONDS_MAX
    """Limit of one fetch, all requests and retries included."""
    connect_seconds_max: float = 5.0
    """Limit of one connection's set-up, for each address of a host."""
    idle_seconds_max: float = 15.0
    """How long a server may be silent."""
    attempts_max: int = 5
    """How often a request is made that fails for a reason which may pass."""
    retry_first_seconds: float = 0.5
    """The wait before the second attempt; it doubles."""
    redirects_max: int = 5
    """Redirects that one request follows."""
    concurrent_max: int = 16
    """Fetches at once; each may hold `code_bytes_max` on disk. One at a time is unpacked, in memory."""
    per_host_max: int = 2
    """Fetches at once from one host, so that one that hangs leaves room for others."""
    waiting_max: int = 4096
    """Fetches that may wait for their turn; more are refused."""
    insecure_registries: frozenset[str] = frozenset()
    """Hosts, with their ports, that are reached without TLS or with any certificate; `*` for all."""
    ca_file: Path | None = None
    """More certificate authorities to trust, in PEM."""
    blocked_networks: tuple[Network, ...] = ()
    """Networks that nothing is fetched from, besides link-local and metadata addresses."""
    file_dirs: tuple[Path, ...] = ()
    """The folders that a file may lie in; none: whoever names a file learns whether it is there."""
    docker_config: Path | None = None
    """The docker configuration with credentials for sources that bring none."""

    def is_insecure(self, host: str) -> bool:
        """Tell whether a host (with its port, where it has one) is reached without asking who it is."""
        return "*" in self.insecure_registries or host in self.insecure_registries
