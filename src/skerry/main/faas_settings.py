"""Where functions with typed input and output run; the fields are settings of the same names."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skerry.kit.errors import ConfigurationError

DRIVERS = ("local", "docker", "openfaas", "knative", "openwhisk", "noop")
#: Drivers of engines that are reached at a URL.
_REMOTE = frozenset({"openfaas", "knative", "openwhisk"})
#: Those whose credentials are a name and a password.
_WITH_PASSWORD = frozenset({"openfaas", "openwhisk"})
_SOCKET = "unix:///"
#: Below this, no runtime starts.
MEMORY_BYTES_LEAST = 32 << 20
CREDENTIALS_BYTES_MAX = 16 << 10


@dataclass(frozen=True, slots=True)
class FaasSettings:
    """Which driver runs functions, and how.

    Attributes:
        faas: one of `DRIVERS`.
        faas_warm_processes_max: processes on this machine that wait for a run of their function.
        faas_docker_host: socket of the engine that builds images, and with `docker` runs them.
        faas_docker_network: the engine's network; "" for its default.
        faas_memory_bytes_max: of one container.
        faas_cpus_max: cores of one container.
        faas_registry: where images of functions are pushed to; "" where they stay, or are built elsewhere.
        faas_url: of the remote engine.
        faas_namespace: on the remote engine; "" for its default.
        faas_ingress_url: of Knative's gateway; "" to call each Service's own URL.
        faas_credentials_file: `name:password` for openfaas and openwhisk, a bearer token for knative.
        faas_ca_file: authorities of the remote engine's certificate; the system's where None.

    Raises:
        ConfigurationError: a field is wrong, or does not go with another.
    """

    faas: str
    faas_warm_processes_max: int
    faas_docker_host: str
    faas_docker_network: str
    faas_memory_bytes_max: int
    faas_cpus_max: float
    faas_registry: str
    faas_url: str
    faas_namespace: str
    faas_ingress_url: str
    faas_credentials_file: Path | None
    faas_ca_file: Path | None

    def __post_init__(self) -> None:
        files = {"faas_credentials_file": self.faas_credentials_file, "faas_ca_file": self.faas_ca_file}
        host, registry = self.faas_docker_host, self.faas_registry
        wrong = [
            f"faas: must be one of {', '.join(DRIVERS)}, not {self.faas!r}" * (self.faas not in DRIVERS),
            f"faas_docker_host: must be {_SOCKET}PATH, not {host!r}: containers are called on this machine's loopback"
            * (not host.startswith(_SOCKET)),
            f"faas_memory_bytes_max: must be at least {MEMORY_BYTES_LEAST}, not {self.faas_memory_bytes_max}"
            * (self.faas_memory_bytes_max < MEMORY_BYTES_LEAST),
            f"faas_warm_processes_max: must not be negative, not {self.faas_warm_processes_max}"
            * (self.faas_warm_processes_max < 0),
            f"faas_cpus_max: must be above 0, not {self.faas_cpus_max}" * (not self.faas_cpus_max > 0),
            f"faas_registry: must be HOST[:PORT][/PATH] without a scheme, not {registry!r}"
            * ("//" in registry or registry.endswith("/")),
            f"faas_url: must be set where faas is {self.faas}: where the engine is reached"
            * (self.faas in _REMOTE and not self.faas_url),
            *(
                f"{name}: must be an http or https URL"
                for name in ("faas_url", "faas_ingress_url")
                if self._is_no_url(name)
            ),
            *(f"{name}: there is no file {path}" for name, path in files.items() if path and not path.is_file()),
        ]
        if any(wrong):
            raise ConfigurationError("; ".join(filter(None, wrong)))
        self.credentials()

    def _is_no_url(self, name: str) -> bool:
        text: str = getattr(self, name)
        parts = urlsplit(text)
        return bool(text) and (parts.scheme not in {"http", "https"} or not parts.hostname)

    def credentials(self) -> str:
        """Read what the remote engine takes: `name:password` or a token; "" where none is set.

        Raises:
            ConfigurationError: the file holds something else.
        """
        path = self.faas_credentials_file
        if path is None or self.faas not in _REMOTE:
            return ""
        try:
            text = path.read_bytes()[: CREDENTIALS_BYTES_MAX + 1].decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"faas_credentials_file: {path} can't be read: {error}") from error
        if not text or len(text) > CREDENTIALS_BYTES_MAX or len(text.splitlines()) > 1:
            raise ConfigurationError(f"faas_credentials_file: {path} must hold one line")
        if self.faas in _WITH_PASSWORD and ":" not in text:
            raise ConfigurationError(f"faas_credentials_file: {path} must hold NAME:PASSWORD for {self.faas}")
        return text
