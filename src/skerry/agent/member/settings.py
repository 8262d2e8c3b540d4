"""What a node is told when it is installed: `agent.json`, and the identity that it keeps from then on.

    {"addresses": ["https://cloud:6443"], "ca": "<PEM>", "reportSeconds": 20,
     "node": {"namespace": "default", "name": "n1", "certificate": {"cert": "<PEM>", "key": "<PEM>"}},
     "batch": {"namespace": "default", "name": "factory", "securityType": "Token", "securityKey": "...",
               "fingerprints": [{"proof": "hostName", "value": ""}]}}

`node` or `batch` is there: a node of its own has its certificate with it, a device of a product activates
itself and is given one. It is kept as `identity.json` in its data directory, as is every certificate that takes the
place of another; the newest is who this node is. That directory is `data` beside the file, where it does
not name another as `dataDir`. Members that are unknown here are passed over.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

import orjson
from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from skerry.kit.errors import ConfigurationError
from skerry.kit.files import write_private

IDENTITY_FILE = "identity.json"
#: What `skerry agent status` reads.
STATUS_FILE = "status.json"
#: An agent.json has two certificates and little else.
SETTINGS_BYTES_MAX = 256 * 1024

Proof = Literal["sn", "input", "hostName", "bootID", "systemUUID", "machineID"]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", defer_build=True
    )


class Certificate(_Part):
    """What proves who this node is; PEM."""

    cert: str
    key: str = Field(repr=False)

    @property
    def begins(self) -> dt.datetime:
        """Its first moment; raises ValueError for what is no certificate."""
        return x509.load_pem_x509_certificate(self.cert.encode()).not_valid_before_utc

    @property
    def ends(self) -> dt.datetime:
        """Its last moment; raises ValueError likewise."""
        return x509.load_pem_x509_certificate(self.cert.encode()).not_valid_after_utc


class Identity(_Part):
    """Who this node is to its control plane."""

    namespace: str
    name: str
    certificate: Certificate

    @property
    def place(self) -> tuple[str, str]:
        """Its namespace and name."""
        return self.namespace, self.name


class Fingerprint(_Part):
    """One way to tell which device this is."""

    proof: Proof
    value: str = ""
    """For input: what a person is asked for."""


class Batch(_Part):
    """The product that this device is one of."""

    namespace: str
    name: str
    security_type: Literal["None", "Token"] = "Token"
    security_key: str = Field(default="", repr=False)
    fingerprints: list[Fingerprint] = Field(min_length=1)
    sn_path: Path = Path()
    """For sn: the file that has it."""
    penetrate_data: dict[str, str] | None = None


class Users(_Part):
    """Ids of users that nothing else on this machine has."""

    first: Annotated[int, Field(ge=1, le=2**31)] = 70_000
    """The first; it is that of the programs' group, too. Between those of people and those of containers."""
    count: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many; each application with programs takes one."""


class MemberSettings(_Part):
    """How a node joins, and how it works."""

    addresses: list[str] = Field(min_length=1)
    """Of the control plane, tried in order."""
    ca: str
    """PEM of the authority that the control plane's certificate is of."""
    data_dir: Path = Path("data")
    """What this node keeps; a relative path is below the folder of agent.json."""
    report_seconds: Annotated[int | None, Field(ge=1, le=3600)] = None
    """How often it reports at least when nothing changes; as often as its control plane says where not given."""
    container_host: str = "unix:///run/docker.sock"
    """The socket of the container engine, Docker's or podman's; it need not be there."""
    container_network: str = ""
    """The engine's network for containers that do not use the machine's own; its default where empty."""
    allow_privileged: bool = False
    """Whether containers may do all that this machine may."""
    program_users: Users | None = Users()
    """Whom programs run as where this agent is root's; None for root."""
    functions_address: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")] = "127.0.0.1:50011"
    """Where functions are called: an address and a port of this machine; any that is free for port 0."""
    functions_warm_processes_max: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Processes of functions that wait for their next call, of all applications together; 0 for one a call."""
    gateway_address: str = "127.0.0.1"
    """The IP address of Gateways that name none."""
    engine_workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Processes that run functions, once a Gateway runs here; 0 for one for each core."""
    engine_cache: Path | None = None
    """Where the compiled engine is kept; in the data directory where it is not set."""
    root_namespace: str = "istio-system"
    """Plugins and policies of this namespace apply to Gateways of every namespace; as the control plane has it."""
    artifacts_bytes_max: Annotated[int, Field(ge=1)] = 1024**3
    """How much code is kept here, in bytes."""
    node: Identity | None = None
    batch: Batch | None = None


def read_settings(path: Path) -> MemberSettings:
    """Read `agent.json`.

    Raises:
        ConfigurationError: it is not there, or which of its members is wrong.
    """
    try:
        if path.stat().st_size > SETTINGS_BYTES_MAX:
            raise ConfigurationError(f"{path} has more than {SETTINGS_BYTES_MAX} bytes")
        settings = MemberSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        hint = ": the install command of a node writes it" if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"{path} can't be read: {error.strerror}{hint}") from error
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False)
        wrong = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in told)
        raise ConfigurationError(f"{path}: {wrong}") from error
    if settings.node is None:
        product_of(settings)
    return settings.model_copy(update={"data_dir": path.absolute().parent / settings.data_dir})


def product_of(settings: MemberSettings) -> Batch:
    """Return the product that this device is one of; raises ConfigurationError where it is of none."""
    if settings.batch is None:
        raise ConfigurationError("agent.json: give node or batch")
    return settings.batch


def known_identity(settings: MemberSettings) -> Identity | None:
    """Return who this node is, if it was told or has been activated before; raises ConfigurationError."""
    told, path = settings.node, settings.data_dir / IDENTITY_FILE
    try:
        kept = Identity.model_validate(orjson.loads(path.read_bytes()))
        if told is None or (kept.place == told.place and kept.certificate.begins >= told.certificate.begins):
            return kept
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} can't be read: remove it to be who agent.json says, or activated") from error
    return told


def keep_identity(settings: MemberSettings, identity: Identity) -> None:
    """Keep who this node is; when it returns that is on disk."""
    content = orjson.dumps(identity.model_dump(by_alias=True), option=orjson.OPT_INDENT_2)
    write_private(settings.data_dir / IDENTITY_FILE, content)
