"""What makes container images of functions, for the drivers whose engines run containers.

Source: Dispatch's ImageBuilder.
"""

from typing import Protocol

from skerry.functions.entities import Exec


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
            FunctionError: the function's code does not build.
            SystemError: the builder does not work.
        """
        ...

    async def remove_image(self, image: str) -> None:
        """Remove an image; one that is not there is no error."""
        ...


class BuiltImages:
    """For functions whose images are built elsewhere: the exec's image is the function's."""

    async def build_image(self, faas: str, function_id: str, exec_: Exec) -> str:  # noqa: ARG002
        """Return the image that is there."""
        return exec_.image

    async def remove_image(self, image: str) -> None:
        """Leave it where it is."""
