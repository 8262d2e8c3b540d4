"""What a runtime is, and which there are: who starts the instances of functions in one language."""

from pathlib import Path
from typing import Protocol

from skerry.functions.local.node import NodeRuntime
from skerry.functions.local.pool import FunctionInstance
from skerry.functions.local.python import PythonRuntime


def default_runtimes() -> "dict[str, Runtime]":
    """Return the runtimes that need nothing of Skerry's, by the language's name."""
    return {"python3": PythonRuntime(), "nodejs": NodeRuntime()}


class Runtime(Protocol):
    """Starts the instances of functions of one kind."""

    def file_name(self, handler: str) -> str:
        """Name the file of a one-file source, as its handler expects it."""
        ...

    async def install(self, environment: Path, manifest: str) -> None:
        """Install packages into an empty folder, which deployments have as `image` among their own.

        Raises:
            FunctionError: they can't be installed.
            SystemError: there is no installer.
        """
        ...

    async def prepare(self, folder: Path, handler: str) -> None:
        """Make a deployment's folder ready, once, before it has its final name; raises InvocationError."""
        ...

    async def start(self, folder: Path, handler: str) -> FunctionInstance:
        """Start an instance of a deployment.

        Raises:
            FunctionError: the function does not load.
            SystemError: there is nothing to run it with, or its process does not start.
        """
        ...

    async def discard(self, folder: Path) -> None:
        """Let go of a deployment whose folder is about to be removed, and whose instances have ended."""
        ...
