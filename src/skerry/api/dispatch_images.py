"""dispatch.skerry.dev/v1: the images that functions are made from, and the base images under them.

Names of fields are those of Dispatch's JSON where it has them; what its server fills in is in `status`. What an image
is (a container image, a folder of packages) is the affair of the driver that runs the functions.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from skerry.api.dispatch_v1 import GROUP, TAGS_MAX, VERSION, State, Tag
from skerry.api.fields import FieldError, invalid, required, too_long, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, Document, Int64, Model, Resource, list_map

#: Characters of a manifest of packages.
MANIFEST_CHARACTERS_MAX = 256 << 10
SYSTEM_PACKAGES_MAX = 200
GROUPS_MAX = 100

_NAME = re.compile(r"\w[\w-]*", re.ASCII)
_NAME_CHARACTERS_MAX = 63
_LANGUAGE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}")
#: What container images may be called, and nothing that a Dockerfile or an engine reads as more than a name.
_DOCKER_URL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
#: Debian's, and what other distributions call packages: nothing that a shell or a file of packages reads as more.
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}")
_PACKAGE_VERSION = re.compile(r"[A-Za-z0-9.+:~_*-]{0,127}")


class RuntimeDependencies(Model):
    """Packages of the language."""

    manifest: str = ""
    """The file that the language's installer reads: requirements.txt for python3, package.json for nodejs."""


class SystemPackage(Model):
    """A package of the operating system."""

    name: str
    """Its name."""
    version: str = ""
    """Its version; empty for the newest."""


class SystemDependencies(Model):
    """Packages of the operating system."""

    packages: Annotated[list[SystemPackage] | None, list_map("name")] = None
    """The packages."""


class ImageStatus(Model):
    """The present state of an image or a base image."""

    state: State | None = None
    """READY: functions can be made from it. ERROR: they can't, and reason tells why."""
    reason: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Why the newest state of the spec is not there."""
    language: str | None = None
    """The language: that of the base image."""
    docker_url: str | None = None
    """What functions are made from, as the driver names it; the last one that could be made."""
    base_url: str | None = None
    """What base image this status was made from, as the driver names it."""
    observed_generation: Int64 | None = None
    """The generation that this status was made from."""
    conditions: Conditions = None
    """Ready: functions can be made from it. Latest: what they are made from is the spec as it is now."""


class BaseImageSpec(Model):
    """The desired state of a base image."""

    docker_url: str
    """The container image."""
    language: str
    """The language whose runtime it carries: python3, nodejs and so on."""
    groups: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Groups, for clients."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""


class BaseImage(Resource):
    """A language's runtime, which images are made from."""

    spec: BaseImageSpec
    """The desired state."""
    status: ImageStatus = Field(default_factory=ImageStatus)
    """The present state."""


class ImageSpec(Model):
    """The desired state of an image."""

    base_image_name: str
    """The base image."""
    runtime_dependencies: RuntimeDependencies | None = None
    """Packages of the language to install."""
    system_dependencies: SystemDependencies | None = None
    """Packages of the operating system to install."""
    groups: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Groups, for clients."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""


class Image(Resource):
    """A base image with packages: what functions name as their image."""

    spec: ImageSpec
    """The desired state."""
    status: ImageStatus = Field(default_factory=ImageStatus)
    """The present state."""


def _name(name: str, path: str) -> Iterator[FieldError]:
    if not _NAME.fullmatch(name) or len(name) > _NAME_CHARACTERS_MAX:
        detail = (
            "name should start with letter or number and may only contain letters, numbers, underscores and dashes, "
            f"at most {_NAME_CHARACTERS_MAX}"
        )
        yield invalid(path, name, detail)


def _labelled(spec: BaseImageSpec | ImageSpec) -> Iterator[FieldError]:
    if spec.tags and len(spec.tags) > TAGS_MAX:
        yield too_many("spec.tags", len(spec.tags), TAGS_MAX)
    if spec.groups and len(spec.groups) > GROUPS_MAX:
        yield too_many("spec.groups", len(spec.groups), GROUPS_MAX)


def _validate_base_image(base: BaseImage, _: BaseImage | None) -> Iterator[FieldError]:
    yield from _name(base.name, "metadata.name")
    if not _DOCKER_URL.fullmatch(base.spec.docker_url):
        yield invalid(
            "spec.dockerUrl", base.spec.docker_url, "must be the name of a container image, registry/name:tag"
        )
    if not _LANGUAGE.fullmatch(base.spec.language):
        yield invalid("spec.language", base.spec.language, "must be lower-case letters, digits, dots and dashes")
    yield from _labelled(base.spec)


def _validate_image(image: Image, _: Image | None) -> Iterator[FieldError]:
    spec = image.spec
    yield from _name(image.name, "metadata.name")
    if spec.base_image_name:
        yield from _name(spec.base_image_name, "spec.baseImageName")
    else:
        yield required("spec.baseImageName")
    if spec.runtime_dependencies and len(spec.runtime_dependencies.manifest) > MANIFEST_CHARACTERS_MAX:
        yield too_long("spec.runtimeDependencies.manifest", MANIFEST_CHARACTERS_MAX, "characters")
    yield from _system_packages(spec.system_dependencies.packages or [] if spec.system_dependencies else [])
    yield from _labelled(spec)


def _system_packages(packages: list[SystemPackage]) -> Iterator[FieldError]:
    path = "spec.systemDependencies.packages"
    if len(packages) > SYSTEM_PACKAGES_MAX:
        yield too_many(path, len(packages), SYSTEM_PACKAGES_MAX)
    for index, package in enumerate(packages):
        if not _PACKAGE.fullmatch(package.name):
            yield invalid(f"{path}[{index}].name", package.name, "must be letters, digits, '.', '+', '_' and '-'")
        if not _PACKAGE_VERSION.fullmatch(package.version):
            detail = "must be letters, digits, '.', '+', ':', '~', '_', '*' and '-'"
            yield invalid(f"{path}[{index}].version", package.version, detail)


def _reason(document: Document) -> Any:
    return "; ".join((document.get("status") or {}).get("reason") or ())


_STATUS = (
    Column("Status", value_at(".status.state"), description="READY where functions can be made from it."),
    Column("Reason", _reason, description="Why not.", priority=1),
)

BASE_IMAGE = Kind(
    group=GROUP,
    version=VERSION,
    model=BaseImage,
    plural="baseimages",
    namespaced=True,
    name_format="path-segment",
    columns=(
        Column("URL", value_at(".spec.dockerUrl"), description="The container image."),
        Column("Language", value_at(".spec.language"), description="The language whose runtime it carries."),
        *_STATUS,
    ),
    validate=_validate_base_image,
    read_by="view",
    written_by="edit",
)

IMAGE = Kind(
    group=GROUP,
    version=VERSION,
    model=Image,
    plural="images",
    namespaced=True,
    name_format="path-segment",
    columns=(
        Column("URL", value_at(".status.dockerUrl"), description="What functions are made from."),
        Column("BaseImage", value_at(".spec.baseImageName"), description="What it is made from."),
        *_STATUS,
    ),
    validate=_validate_image,
    read_by="view",
    written_by="edit",
)
