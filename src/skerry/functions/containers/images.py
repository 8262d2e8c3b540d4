"""Images where functions run in containers: base images that are pulled, images with packages, images of functions.

Every image that is made here has the label of its owner, by which leftovers are found; what it is for is another label.
Source: Dispatch's ImageBuilder and the templates of its base images.
"""

import hashlib
import json
from dataclasses import dataclass

from skerry.functions.containers.context import function_context, image_context
from skerry.functions.containers.engine import ContainerEngine
from skerry.functions.entities import Exec
from skerry.functions.errors import BuildError, FunctionError, SystemError  # noqa: A004 - see errors
from skerry.functions.images import Recipe, is_container_image

OWNER_LABEL = "dev.skerry.owner"
_ROLE_LABEL = "dev.skerry.role"
_FUNCTION_LABEL = "dispatch-function-revision"
_FUNCTION_TEMPLATE = ("io.dispatchframework.functionTemplate", "/function-template")
_IMAGE_TEMPLATE = ("io.dispatchframework.imageTemplate", "/image-template")
_SYSTEM_PACKAGES, _PACKAGES = "system-packages.txt", "packages.txt"
#: What local images are called by: a registry that no image is ever pulled from.
_NO_REGISTRY = "localhost"


@dataclass(frozen=True)
class DockerImageSettings:
    """Where images go.

    Attributes:
        registry: registry, with a path if it has one, that images of functions are pushed to; "" where they stay.
        owner: tells our images from others on the same engine.
    """

    registry: str = ""
    owner: str = ""


class DockerImageBuilder:
    """Builds images of functions from their source and the template that their base image carries.

    Args:
        settings: where they go.
        engine: builds them.
    """

    def __init__(self, settings: DockerImageSettings, engine: ContainerEngine) -> None:
        self._settings = settings
        self._engine = engine

    async def build_image(self, faas: str, function_id: str, exec_: Exec) -> str:  # noqa: ARG002 - all take the same
        """Build an image, and push it where there is a registry.

        Raises:
            BuildError: the code does not build, with what the engine said since the last step.
            SystemError: the engine does not work; there is no such base image; the registry refuses.
        """
        template = await _template(self._engine, exec_.image, *_FUNCTION_TEMPLATE)
        try:
            context = function_context(exec_.source, exec_.handler, template)
        except FunctionError as error:
            raise BuildError(error.message) from error
        image = self.name_of(function_id)
        labels = {
            OWNER_LABEL: self._settings.owner,
            _ROLE_LABEL: "function",
            _FUNCTION_LABEL: function_id,
        }
        await self._engine.build(context, image, {"IMAGE": exec_.image, "HANDLER": exec_.handler}, labels)
        if self._settings.registry:
            await self._engine.push(image)
        return image

    async def remove_image(self, function_id: str) -> None:
        """Remove a function's image from the engine; a registry keeps what was pushed."""
        await self._engine.remove_image(self.name_of(function_id))

    async def built_for(self) -> set[str]:
        """Return what images of functions there are: the ids that they were built for."""
        labels = {OWNER_LABEL: self._settings.owner, _ROLE_LABEL: "function"}
        return {of.get(_FUNCTION_LABEL, "") for of in (await self._engine.images(labels)).values()}

    def name_of(self, function_id: str) -> str:
        """Return what a function's image is called, be there one or not."""
        return f"{self._settings.registry or _NO_REGISTRY}/func-{function_id}:latest"


class DockerImages:
    """Pulls base images, and installs packages into them by the template that they carry; an `ImageStore`.

    Args:
        settings: whose they are; images with packages stay on the engine.
        engine: pulls and builds.
    """

    def __init__(self, settings: DockerImageSettings, engine: ContainerEngine) -> None:
        self._labels = {OWNER_LABEL: settings.owner, _ROLE_LABEL: "image"}
        self._engine = engine

    def built_in(self, name: str) -> str | None:
        """Take the name of a container image, which no Image can have."""
        return name if is_container_image(name) else None

    async def base(self, docker_url: str, language: str) -> str:  # noqa: ARG002 - the image knows it
        """Pull a base image that is not there.

        Raises:
            SystemError: it can't be pulled.
        """
        if await self._engine.image_id(docker_url) is None:
            await self._engine.pull(docker_url)
        return docker_url

    async def build(self, recipe: Recipe) -> str:
        """Build an image with packages; without any it is the base image.

        Raises:
            BuildError: they can't be installed, with what the installer said.
            FunctionError: the base image has no template to install any.
            SystemError: the engine does not work.
        """
        if not recipe.manifest.strip() and not recipe.system_packages:
            return recipe.base
        base = await self._engine.image_id(recipe.base)
        parts = json.dumps([base, recipe.manifest, recipe.system_packages])
        image = f"{_NO_REGISTRY}/image-{hashlib.sha256(parts.encode()).hexdigest()[:40]}:latest"
        if await self._engine.image_id(image) is None:
            template = await _template(self._engine, recipe.base, *_IMAGE_TEMPLATE)
            packages = "".join(f"{name} {version}".strip() + "\n" for name, version in recipe.system_packages)
            context = image_context({_SYSTEM_PACKAGES: packages, _PACKAGES: recipe.manifest}, template)
            arguments = {
                "BASE_IMAGE": recipe.base,
                "SYSTEM_PACKAGES_FILE": _SYSTEM_PACKAGES,
                "PACKAGES_FILE": _PACKAGES,
            }
            await self._engine.build(context, image, arguments, self._labels)
        return image

    async def has(self, image: str) -> bool:
        """Tell whether the engine has an image."""
        return await self._engine.image_id(image) is not None

    async def built(self) -> set[str]:
        """Return the images with packages."""
        return set(await self._engine.images(self._labels))

    async def remove(self, image: str) -> None:
        """Remove an image."""
        await self._engine.remove_image(image)


async def _template(engine: ContainerEngine, image: str, label: str, default: str) -> bytes:
    """Return the template that an image carries, where its label says."""
    if await engine.image_id(image) is None:
        raise SystemError(f"image {image} is not there")
    path = await engine.image_label(image, label) or default
    template = await engine.copy_out(image, path)
    if template is None:
        raise FunctionError(f"image {image} is no base image: it has no folder {path}")
    return template
