"""The JSON of Dispatch's images and base images, and what it is of our kinds.

As in `bodies`, fields that are not known are ignored; among them are those that the server fills in.
"""

from pydantic import Field

from skerry.api.dispatch_images import BaseImage, Image
from skerry.api.dispatch_v1 import DELETING, INITIALIZED
from skerry.api.model import Document
from skerry.server.dispatch.bodies import Body, TagBody, seconds_of, tags_json


class BaseImageBody(Body):
    """A base image as it is created or replaced."""

    name: str
    docker_url: str = Field(alias="dockerUrl")
    language: str
    groups: list[str] | None = None
    tags: list[TagBody] | None = None


class RuntimeDependenciesBody(Body):
    """Packages of the language."""

    manifest: str = ""


class SystemPackageBody(Body):
    """A package of the operating system."""

    name: str
    version: str = ""


class SystemDependenciesBody(Body):
    """Packages of the operating system."""

    packages: list[SystemPackageBody] | None = None


class ImageBody(Body):
    """An image as it is created or replaced."""

    name: str
    base_image_name: str = Field(alias="baseImageName")
    runtime_dependencies: RuntimeDependenciesBody | None = Field(default=None, alias="runtimeDependencies")
    system_dependencies: SystemDependenciesBody | None = Field(default=None, alias="systemDependencies")
    groups: list[str] | None = None
    tags: list[TagBody] | None = None


def base_image_json(base: BaseImage) -> Document:
    """Write a base image."""
    own = {"dockerUrl": base.spec.docker_url, "language": base.spec.language}
    return {"kind": "BaseImage"} | _common(base) | own


def image_json(image: Image, language: str = "") -> Document:
    """Write an image; `language` is what its base image says, where its status does not say it yet."""
    runtime, system = image.spec.runtime_dependencies, image.spec.system_dependencies
    packages = [
        {"name": package.name} | ({"version": package.version} if package.version else {})
        for package in (system.packages if system else None) or ()
    ]
    own = {
        "baseImageName": image.spec.base_image_name,
        "dockerUrl": image.status.docker_url,
        "language": image.status.language or language,
    }
    return (
        {"kind": "Image"}
        | _common(image)
        | {key: value for key, value in own.items() if value}
        | {
            "runtimeDependencies": {"manifest": runtime.manifest} if runtime else {},
            "systemDependencies": {"packages": packages or None},
        }
    )


def _common(each: Image | BaseImage) -> Document:
    return {
        "id": each.uid,
        "name": each.name,
        "createdTime": seconds_of(each.metadata.creation_timestamp),
        "groups": each.spec.groups,
        "tags": tags_json(each.spec.tags),
        "reason": each.status.reason,
        "status": DELETING if each.metadata.deletion_timestamp else each.status.state or INITIALIZED,
    }
