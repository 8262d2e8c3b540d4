"""What functions are made from: base images, images with packages, and the container images of single functions.

Source: Dispatch's ImageBuilder, and its image manager.
"""

from dataclasses import dataclass
from typing import Protocol

from skerry.functions.entities import Exec
from skerry.functions.errors import FunctionError


@dataclass(frozen=True)
class Recipe:
    """How an image is made.

    Attributes:
        base: what `ImageStore.base` returned.
        language: the base image's.
        manifest: packages of the language, as its installer reads them; "" for none.
        system_packages: of the operating system: name to version, "" for the newest.
    """

    base: str
    language: str
    manifest: str = ""
    system_packages: tuple[tuple[str, str], ...] = ()


class ImageStore(Protocol):
    """Makes and keeps what functions are made from. An image is known by a name that its driver understands."""

    def built_in(self, name: str) -> str | None:
        """Return the image that a function may name with nothing made before; None where there is none such."""
        ...

    async def base(self, docker_url: str, language: str) -> str:
        """Bring a base image, if it is not there; return its name.

        Raises:
            FunctionError: there is none such, or none of that language can be used here.
            SystemError: it can't be brought for now.
        """
        ...

    async def build(self, recipe: Recipe) -> str:
        """Make an image, if it is not there: the same recipe is the same image; return its name.

        Raises:
            FunctionError: the packages can't be installed.
            SystemError: the store does not work.
        """
        ...

    async def has(self, image: str) -> bool:
        """Tell whether an image or a base image is there."""
        ...

    async def built(self) -> set[str]:
        """Return the images that `build` made and that are there."""
        ...

    async def remove(self, image: str) -> None:
        """Remove what `build` made; one that is not there, or that is in use, is no error."""
        ...


class ImageBuilder(Protocol):
    """Builds the image of a function and pushes it to where the engine pulls from."""

    async def build_image(self, faas: str, function_id: str, exec_: Exec) -> str:
        """Build and push an image.

        Args:
            faas: the engine, which may want layers of its own.
            function_id: what tells this function's image from others.
            exec_: source, handler and base image.

        Returns:
            The image's full name.

        Raises:
            BuildError: the function's code does not build.
            SystemError: the builder does not work.
        """
        ...

    async def remove_image(self, function_id: str) -> None:
        """Remove a function's image; one that is not there is no error."""
        ...


class BuiltImages:
    """For functions whose images are built elsewhere: the exec's image is the function's, and all there is."""

    async def build_image(self, faas: str, function_id: str, exec_: Exec) -> str:  # noqa: ARG002
        """Return the image that is there."""
        return exec_.image

    async def remove_image(self, function_id: str) -> None:
        """Leave it where it is."""

    def built_in(self, name: str) -> str | None:
        """Take any name of a container image that can't be that of an Image."""
        return name if is_container_image(name) else None

    async def base(self, docker_url: str, language: str) -> str:  # noqa: ARG002 - whatever it is written in
        """Take it as it is: the engine will pull it."""
        return docker_url

    async def build(self, recipe: Recipe) -> str:
        """Take the base image as it is.

        Raises:
            FunctionError: packages are asked for, and nothing here installs any.
        """
        if recipe.manifest or recipe.system_packages:
            raise FunctionError("dependencies can't be installed: no images are built here, as no faas_registry is set")
        return recipe.base

    async def has(self, image: str) -> bool:  # noqa: ARG002
        """Tell that it is: the engine finds out."""
        return True

    async def built(self) -> set[str]:
        """Return none: nothing is built."""
        return set()

    async def remove(self, image: str) -> None:
        """Leave it where it is."""


def is_container_image(name: str) -> bool:
    """Tell whether a function's `image` is the name of a container image itself: no Image can have a / or a :."""
    return "/" in name or ":" in name
