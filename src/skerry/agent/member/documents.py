"""What a control plane tells a node, read: applications with their services, and the files of configurations.

The shapes are those of Baetyl's sync protocol: flat, with the names that its API has. Members that are unknown here
are passed over, since newer control planes send more. Pure.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from skerry.agent.member.errors import ApplicationError
from skerry.api.baetyl_application_services import Service, Volume
from skerry.api.baetyl_application_spec import JobConfig, Registry
from skerry.api.model import Document

ResourceKind = Literal["application", "configuration", "secret"]
APPLICATION: Final = "application"
CONFIGURATION: Final = "configuration"
SECRET: Final = "secret"  # noqa: S105 - the name of a kind

#: Names and versions come as parts of paths on this node.
SAFE_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?$"


def require_safe_name(name: str) -> None:
    """Raise ValueError for what can't be a part of a path."""
    if not re.fullmatch(SAFE_NAME, name):
        raise ValueError(f"{name[:128]!r} can't be a name")


class _Told(BaseModel):
    """Something that a control plane tells."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", defer_build=True
    )


T = TypeVar("T", bound=_Told)


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """Who a node is to a registry of images."""

    address: str
    username: str
    password: str = field(repr=False)


class Application(_Told):
    """An application, in one version."""

    name: str = Field(pattern=SAFE_NAME)
    version: str = Field(pattern=SAFE_NAME)
    type: str = "container"
    mode: str = "kube"
    workload: str = "deployment"
    job_config: JobConfig | None = None
    services: list[Service] = Field(default_factory=list)
    init_services: list[Service] | None = None
    volumes: list[Volume] | None = None
    registries: list[Registry] | None = None
    host_network: bool = False
    replica: int | None = None
    logins: tuple[RegistryLogin, ...] = Field(default=(), init=False)
    """Of the secrets that its registries name; not told with it."""

    @field_validator("services", "init_services", "volumes")
    @classmethod
    def _require_names(cls, parts: list[Service] | list[Volume] | None) -> list[Service] | list[Volume] | None:
        """Refuse services and volumes by whose names a path would lead elsewhere."""
        for each in parts or ():
            require_safe_name(each.name)
        return parts

    @property
    def kind(self) -> str:
        """What runs it: its mode, which means nothing to functions."""
        return self.type if self.type == "function" else self.mode

    @property
    def is_job(self) -> bool:
        """Tell whether its instances are to come to an end."""
        return self.workload == "job"


class Resource(_Told):
    """A configuration, whose data are texts, or a secret, whose data are in base64."""

    name: str = Field(pattern=SAFE_NAME)
    version: str = Field(pattern=SAFE_NAME)
    labels: dict[str, str] | None = None
    data: dict[str, str] | None = None


class RemoteObject(_Told):
    """A file that is fetched from elsewhere."""

    url: str = ""
    token: str = ""
    md5: str = ""
    unpack: str = ""


def read_application(document: Document) -> Application:
    """Read an application; raises ApplicationError, which says what of it can't be used."""
    return _read(Application, document)


def read_resource(document: Document) -> Resource:
    """Read a configuration or a secret; raises ApplicationError."""
    return _read(Resource, document)


def read_object(name: str, text: str) -> RemoteObject:
    """Read where a file is to be fetched; raises ApplicationError."""
    try:
        found = RemoteObject.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        raise ApplicationError(f"object {name}: {_first(error)}") from error
    if not found.url:
        raise ApplicationError(f"object {name}: it has no url")
    return found


def _read(model: type[T], document: Document) -> T:
    try:
        return model.model_validate(document, extra="ignore")
    except ValidationError as error:
        raise ApplicationError(f"what the control plane sent can't be read: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Say the first thing that is wrong, without the input: it may be a secret."""
    told = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in told['loc'])}: {told['msg']}"
