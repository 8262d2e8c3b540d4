"""The runtime `python3`: functions of Python source, on a Python of their own."""

import asyncio
import json
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from skerry.functions.local.installing import install_packages
from skerry.functions.local.process import FunctionProcess, Program
from skerry.functions.local.source import ENVIRONMENT

_REQUIREMENTS = "requirements.txt"
_WORKER = Path(__file__).with_name("python_worker.py")


@dataclass(frozen=True)
class PythonRuntime:
    """Starts Python functions.

    Attributes:
        rlimits: name of a limit in the module `resource` to its value, for each process.
        install_environment: environment variables of pip: an index of your own, a proxy.
        python: what runs functions that bring no environment along.
    """

    rlimits: Mapping[str, int] = field(
        default_factory=lambda: {
            "RLIMIT_AS": 1 << 30,  # bytes
            "RLIMIT_NOFILE": 256,
            "RLIMIT_FSIZE": 1 << 28,  # bytes
            "RLIMIT_CORE": 0,
        }
    )
    install_environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable

    def file_name(self, handler: str) -> str:
        """Name the file of a one-file source, as its handler expects it."""
        module = handler.rpartition(".")[0] or "function"
        return f"{module.replace('.', '/').rpartition('/')[2]}.py"

    async def install(self, environment: Path, manifest: str) -> None:
        """Install what a requirements.txt asks for, for several functions to share.

        Raises:
            FunctionError: what pip says.
        """
        (environment / _REQUIREMENTS).write_text(manifest)
        await self._install(environment, environment)

    async def prepare(self, folder: Path, handler: str) -> None:  # noqa: ARG002 - the packages are no matter of it
        """Install what `source/requirements.txt` of a deployment's folder asks for, if it is there.

        Raises:
            FunctionError: what pip says.
        """
        source = folder / "source"
        if (source / _REQUIREMENTS).is_file():
            await self._install(folder, source)
            if (folder / ENVIRONMENT).exists():
                _add_packages(folder, folder / ENVIRONMENT)

    async def _install(self, folder: Path, source: Path) -> None:
        """Install the requirements.txt of a source into an environment of a folder."""
        # A pip of its own would take longer to put there than most requirements.
        pip_is_here = find_spec("pip") is not None
        await asyncio.to_thread(venv.create, folder / "venv", with_pip=not pip_is_here, symlinks=True)
        own = str(folder / "venv" / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", own] if pip_is_here else [own, "-m", "pip"]
        command = [*pip, "install", "--no-input", "--quiet", "--disable-pip-version-check"]
        await install_packages([*command, "-r", _REQUIREMENTS], _REQUIREMENTS, source, self.install_environment)

    async def start(self, folder: Path, handler: str) -> FunctionProcess:
        """Start a process of a deployment."""
        return await FunctionProcess.start(self.program(folder, handler))

    async def discard(self, folder: Path) -> None:
        """Do nothing: all of a deployment is in its folder."""

    def program(self, folder: Path, handler: str) -> Program:
        """Tell how to start a process of a deployment: on its own packages, else on those of its image."""
        pythons = (place / "venv" / "bin" / "python" for place in (folder, folder / ENVIRONMENT))
        python = next((str(own) for own in pythons if own.exists()), self.python)
        source, limits = folder / "source", json.dumps(dict(self.rlimits))
        return Program(
            command=(python, "-I", "-B", str(_WORKER), "{fd}", "{messages}", str(source), handler, limits),
            folder=source,
            environment={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(source)},
        )


def _add_packages(folder: Path, environment: Path) -> None:
    """Let the environment of a folder see the packages of another, after its own."""
    (own,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (shared,) = (environment / "venv" / "lib").glob("python3*/site-packages")
    (own / "image.pth").write_text(f"{shared.resolve()}\n")
