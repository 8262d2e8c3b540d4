"""Settings of a whole Skerry: defaults < file < environment < flags, built here and nowhere else.

    settings = load_settings(flags, environment)

The file is TOML (`skerry.toml` in the data directory, or `--config`); its keys are the field names below. The
environment's names are `SKERRY_` and the field name in capitals.
"""

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import skerry
from skerry.api.function_limits import LEAST, MOST, FunctionLimits
from skerry.api.names import is_label
from skerry.artifacts.keep import KEEP_BYTES_MAX
from skerry.artifacts.s3_settings import REGION
from skerry.kit.errors import ConfigurationError
from skerry.main.artifact_settings import ArtifactSettings
from skerry.main.faas_settings import FaasSettings
from skerry.main.log_settings import LogSettings
from skerry.main.setting_values import (
    ENVIRONMENT_PREFIX,
    Address,
    Labels,
    is_cidr,
    is_host,
    is_https_origin,
    read_boolean,
    read_database,
    read_list,
    read_number,
    read_url,
    read_whole,
)
from skerry.server.oidc import OidcSettings
from skerry.store.postgres.session import redacted

FILE_NAME = "skerry.toml"
API_ADDRESS = Address("127.0.0.1", 6443)
HTTP_ADDRESS = Address("127.0.0.1", 8080)
NO_LABELS = Labels()
WORKERS_MAX = 256
#: Below this, Envoy's own connections could use it up.
ENVOY_HEAP_BYTES_LEAST = 256 * 1024 * 1024


def _memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _started_in() -> tuple[str, ...]:
    """Return the working folder; nothing for the root, where services are started: it holds everything."""
    folder = Path.cwd()
    return () if folder == Path(folder.anchor) else (str(folder),)


def bundled_js_engine() -> Path:
    """Return the js-engine folder beside this package's sources."""
    return Path(skerry.__file__).resolve().parents[2] / "js-engine"


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. `skerry config` prints it."""

    data_dir: Path = Path(".skerry")
    """Where everything is kept: the log, keys, artifacts, logs, the kubeconfig."""
    database: str = ""
    """The log: postgresql://USER:PASSWORD@HOST/NAME, sqlite:///FILE; empty for skerry.db in the data directory."""
    artifacts: str = ""
    """Code: s3://BUCKET/PREFIX; empty for the database where it is PostgreSQL, else for the data directory."""
    artifacts_bytes_max: int = KEEP_BYTES_MAX
    """Limit of all of it together, and of what this machine has of it at hand."""
    artifacts_endpoint: str = ""
    """URL of what serves the bucket; empty for AWS's own."""
    artifacts_region: str = REGION
    """Region of the bucket."""
    artifacts_credentials_file: Path | None = None
    """A file with ACCESS_KEY:SECRET for the bucket; without, AWS's own variables and the machine's role."""
    artifacts_ca_file: Path | None = None
    """An authority of the endpoint's certificate, in PEM, besides the system's."""
    api_address: Address = API_ADDRESS
    """Where the API listens, with TLS."""
    api_names: tuple[str, ...] = ()
    """More names and addresses that clients reach the API by, such as a load balancer's; its certificate has them."""
    fleet_addresses: tuple[str, ...] = ()
    """URLs (https) under which devices reach the API; by default that under which an install command is asked for."""
    http_address: Address = HTTP_ADDRESS
    """Where the default gateway listens."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Engine worker processes; one a core."""
    cache_dir: Path | None = None
    """Where the compiled engine is kept; `cache` in the data directory where it is not set."""
    drain_seconds: float = 10.0
    """How long requests in flight may take after SIGTERM."""
    root_namespace: str = "istio-system"
    """The namespace whose WasmPlugins apply to Gateways of every namespace."""
    node_labels: Labels = NO_LABELS
    """Labels of this machine, `key=value` with commas between them; WasmPlugins can select by them."""
    envoy_heap_bytes_max: int = field(default_factory=lambda: max(ENVOY_HEAP_BYTES_LEAST, _memory_bytes() // 2))
    """Memory of Envoy, its plugins included; close to it, new requests are answered 503. Half of the machine's."""
    native_plugins: bool = False
    """Whether functions may bring shared objects (goPluginSource), which run within Envoy, and nothing holds them."""
    start_seconds_max: float = 60.0
    """How long the gateway may take to be configured; compiling the engine, once a machine, comes before."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    log_style: str = "text"
    """text for people, json for machines."""
    egress_allow: tuple[str, ...] = ()
    """What functions may fetch from besides public addresses: hosts, addresses, CIDRs, with commas between."""
    egress_ca_file: Path | None = None
    """More certificate authorities to trust where functions fetch, in PEM."""
    fetch_bytes_max: int = 256 * 1024 * 1024
    """Limit of code that is fetched, packed and unpacked."""
    fetch_seconds_max: float = 120.0
    """How long one fetch of code may take, its retries included."""
    fetch_blocked_networks: tuple[str, ...] = ()
    """CIDRs that no code is fetched from, besides link-local addresses; with commas between."""
    fetch_ca_file: Path | None = None
    """More certificate authorities to trust where code is fetched, in PEM."""
    fetch_file_dirs: tuple[str, ...] = field(default_factory=_started_in)
    """Folders of this machine that code may be read from (file:///...), with commas between; none where it is empty."""
    insecure_registries: tuple[str, ...] = ()
    """Registries and web servers, host[:port], that are reached without TLS or with any certificate; `*` for all."""
    docker_config: Path = field(default_factory=lambda: Path("~/.docker/config.json").expanduser())
    """Credentials for registries, where a plugin names no secret; need not exist."""
    npm_registry: str = ""
    """Where packages come from, a URL; empty for the registry that npm takes by itself."""
    npm_token_file: Path | None = None
    """A file with the bearer token for the npm registry."""
    worker_memory_bytes_max: int = 1024 * 1024 * 1024
    """What all function instances of one engine worker may take together."""
    function_memory_bytes_max: int = MOST.memory_bytes
    """The most that a function may ask for in runtime.limits.memory."""
    function_cpu_seconds_max: float = MOST.cpu_seconds
    """Likewise for cpuTime."""
    function_request_body_bytes_max: int = MOST.request_body_bytes
    """Likewise for requestBody."""
    function_response_body_bytes_max: int = MOST.response_body_bytes
    """Likewise for responseBody."""
    function_subrequests_max: int = MOST.subrequests
    """Likewise for subrequests."""
    function_concurrency_max: int = MOST.concurrency
    """Likewise for concurrency."""
    max_requests_inflight: int = 400
    """Requests that read, answered at once; above it, 429."""
    max_mutating_requests_inflight: int = 200
    """Requests that write, likewise."""
    audit_reads: bool = False
    """Whether the audit log tells of reads, too."""
    oidc_issuer_url: str = ""
    """The OpenID issuer whose tokens are taken, an https URL; empty for none."""
    oidc_client_id: str = ""
    """What its tokens must be made for (`aud`)."""
    oidc_username_claim: str = "sub"
    """The claim that is the user's name."""
    oidc_groups_claim: str = ""
    """The claim that tells the groups, a text or a list; empty for none."""
    oidc_username_prefix: str = ""
    """Put before names of users; `-` for nothing, by default the issuer and `#` (nothing where the claim is email)."""
    oidc_groups_prefix: str = ""
    """Put before names of groups."""
    oidc_ca_file: Path | None = None
    """Authorities of the issuer's certificate, in PEM, instead of the system's."""
    oidc_required_claims: tuple[str, ...] = ()
    """What a token must say, NAME=VALUE with commas between."""
    faas: str = "local"
    """Where functions with typed input and output run: local, docker, openfaas, knative, openwhisk or noop."""
    faas_warm_processes_max: int = 32
    """With local: processes of functions that wait for their next run; the least recently used end first."""
    faas_docker_host: str = "unix:///var/run/docker.sock"
    """Socket of the container engine (Docker's, or podman's) that builds images, and with docker runs them."""
    faas_docker_network: str = ""
    """Its network for containers of functions; empty for its default."""
    faas_memory_bytes_max: int = 256 * 1024 * 1024
    """Memory of one container."""
    faas_cpus_max: float = 1.0
    """Cores of one container."""
    faas_registry: str = ""
    """Where images of functions are pushed to; empty where they stay on the engine, or are built elsewhere."""
    faas_url: str = ""
    """Where openfaas, knative (its Kubernetes API) or openwhisk is reached."""
    faas_namespace: str = ""
    """The namespace there; empty for its default."""
    faas_ingress_url: str = ""
    """Of Knative's gateway; empty to call each Service's own URL."""
    faas_credentials_file: Path | None = None
    """A file with NAME:PASSWORD for openfaas and openwhisk, with a bearer token for knative."""
    faas_ca_file: Path | None = None
    """Authorities of that engine's certificate, in PEM, instead of the system's."""
    js_engine_dir: Path = field(default_factory=bundled_js_engine)
    """Folder of the JavaScript engine component and its bundler, as `make setup` prepares it."""

    def __post_init__(self) -> None:
        """Check every field, and name all that are wrong."""
        wrong = [
            f"workers: must be between 1 and {WORKERS_MAX}, not {self.workers}"
            * (not 1 <= self.workers <= WORKERS_MAX),
            f"drain_seconds: must be 0 or more, not {self.drain_seconds}" * (self.drain_seconds < 0),
            f"start_seconds_max: must be above 0, not {self.start_seconds_max}" * (self.start_seconds_max <= 0),
            f"envoy_heap_bytes_max: must be at least {ENVOY_HEAP_BYTES_LEAST}, not {self.envoy_heap_bytes_max}"
            * (self.envoy_heap_bytes_max < ENVOY_HEAP_BYTES_LEAST),
            f"max_requests_inflight: must be above 0, not {self.max_requests_inflight}"
            * (self.max_requests_inflight <= 0),
            f"max_mutating_requests_inflight: must be above 0, not {self.max_mutating_requests_inflight}"
            * (self.max_mutating_requests_inflight <= 0),
            f"http_address: {self.http_address} is taken by api_address already"
            * (self.http_address == self.api_address and self.http_address.port != 0),
            *(f"api_names: {text!r} is no host name and no address" for text in self.api_names if not is_host(text)),
            *(
                f"fleet_addresses: {text!r} is no URL such as https://fleet.example:6443"
                for text in self.fleet_addresses
                if not is_https_origin(text)
            ),
            f"root_namespace: must be the name of a namespace, not {self.root_namespace!r}"
            * (not is_label(self.root_namespace)),
            f"fetch_bytes_max: must be above 0, not {self.fetch_bytes_max}" * (self.fetch_bytes_max <= 0),
            f"fetch_seconds_max: must be above 0, not {self.fetch_seconds_max}" * (self.fetch_seconds_max <= 0),
            *(
                f"fetch_blocked_networks: {text!r} is no CIDR"
                for text in self.fetch_blocked_networks
                if not is_cidr(text)
            ),
            f"fetch_ca_file: there is no file {self.fetch_ca_file}"
            * (self.fetch_ca_file is not None and not self.fetch_ca_file.is_file()),
            *(f"fetch_file_dirs: {text!r} is no absolute path" for text in self.fetch_file_dirs if text[:1] != "/"),
            f"npm_token_file: there is no file {self.npm_token_file}"
            * (self.npm_token_file is not None and not self.npm_token_file.is_file()),
            *_limits_problems(self),
            _problem(log_settings, self),
            _problem(oidc_settings, self),
            _problem(faas_settings, self),
            _problem(artifact_settings, self),
        ]
        if any(wrong):
            raise ConfigurationError("; ".join(filter(None, wrong)))

    def as_text(self) -> dict[str, str]:
        """Return every setting as text, without the password of the database."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["database"] = redacted(self.database)
        return {name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()}


def function_limits_max(settings: Settings) -> FunctionLimits:
    """Return the most that a function may ask for: no instance can have more memory than its worker's share of it."""
    most = FunctionLimits(**{name: getattr(settings, f"function_{name}_max") for name in _LIMITS})
    return dataclasses.replace(most, memory_bytes=min(most.memory_bytes, settings.worker_memory_bytes_max))


_LIMITS = tuple(item.name for item in dataclasses.fields(FunctionLimits))


def _limits_problems(settings: Settings) -> Iterator[str]:
    for name in _LIMITS:
        least, given = getattr(LEAST, name), getattr(settings, f"function_{name}_max")
        if given < least:
            yield f"function_{name}_max: must be at least {least}, not {given}"


def log_settings(settings: Settings) -> LogSettings:
    """Return what is logged, and how. Raises ConfigurationError."""
    return LogSettings(settings.log_level, settings.log_style)


def oidc_settings(settings: Settings) -> OidcSettings | None:
    """Return whose OpenID tokens are taken; None for nobody's. Raises ConfigurationError."""
    names = [item.name for item in dataclasses.fields(OidcSettings)]
    values = {name: getattr(settings, name) for name in names}
    if all(values[item.name] == item.default for item in dataclasses.fields(Settings) if item.name in values):
        return None
    return OidcSettings(**values)


def faas_settings(settings: Settings) -> FaasSettings:
    """Return where functions with typed input and output run. Raises ConfigurationError."""
    return FaasSettings(**{item.name: getattr(settings, item.name) for item in dataclasses.fields(FaasSettings)})


def artifact_settings(settings: Settings) -> ArtifactSettings:
    """Return where artifacts are kept. Raises ConfigurationError."""
    names = [item.name for item in dataclasses.fields(ArtifactSettings)]
    return ArtifactSettings(**{name: getattr(settings, name) for name in names})


def _problem(part: Callable[[Settings], object], settings: Settings) -> str:
    try:
        part(settings)
    except ConfigurationError as error:
        return error.public
    return ""


#: How a setting is read, by the type of its field; some are read in a way of their own.
_READERS_BY_TYPE: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: read_whole,
    float: read_number,
    bool: read_boolean,
    Path: Path,
    Path | None: Path,
    tuple[str, ...]: read_list,
    Address: Address.parse,
    Labels: Labels.parse,
}
_OWN_READERS: dict[str, Callable[[str], Any]] = {
    "database": read_database,
    "artifacts_endpoint": read_url,
    "npm_registry": read_url,
    "faas_url": read_url,
    "faas_ingress_url": read_url,
    "faas": str.lower,
    "log_level": str.upper,
}
_READERS = {
    item.name: _OWN_READERS.get(item.name) or _READERS_BY_TYPE[item.type] for item in dataclasses.fields(Settings)
}


def load_settings(
    flags: Mapping[str, str | None], environment: Mapping[str, str], *, file: Path | None = None
) -> Settings:
    """Build the settings; raises ConfigurationError that names what is wrong, where it was set, and what fits.

    Args:
        flags: by field name; None where a flag was not given.
        environment: the process' environment.
        file: the configuration file; by default `skerry.toml` in the data directory, if there is one.
    """
    given = {name: ("--" + name.replace("_", "-"), text) for name, text in flags.items() if text is not None}
    variables = {name: ENVIRONMENT_PREFIX + name.upper() for name in _READERS}
    from_environment = {name: (key, environment[key]) for name, key in variables.items() if environment.get(key)}
    data_dir = (given.get("data_dir") or from_environment.get("data_dir") or ("", ".skerry"))[1]
    path = file or Path(data_dir) / FILE_NAME
    from_file = {name: (f"{path}: {name}", text) for name, text in _read_file(path, required=file is not None).items()}
    values = {}
    faults = []
    for name, (origin, text) in {**from_file, **from_environment, **given}.items():
        try:
            values[name] = _READERS[name](text)
        except ValueError as error:
            faults.append(f"{origin}: {text!r} does not fit: {error}")
    if faults:
        raise ConfigurationError("; ".join(faults))
    return Settings(**values)


def _with_likeness(name: str) -> str:
    alike = difflib.get_close_matches(name, _READERS, n=1)
    return f"{name} (do you mean {alike[0]}?)" if alike else name


def _read_file(path: Path, *, required: bool) -> dict[str, str]:
    if not path.is_file():
        if required:
            raise ConfigurationError(f"--config: there is no file {path}")
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from error
    unknown = content.keys() - _READERS.keys()
    if unknown:
        known = ", ".join(sorted(_READERS))
        told = ", ".join(_with_likeness(name) for name in sorted(unknown))
        raise ConfigurationError(f"{path}: unknown settings {told}; known are {known}")
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in content.items()
    }
