"""The runtime `nodejs`: functions of JavaScript on Node."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors
from skerry.functions.local.installing import install_packages
from skerry.functions.local.process import FunctionProcess, Program
from skerry.functions.local.source import ENVIRONMENT
from skerry.kit.processes import Bounds

_NPM_FLAGS = ("--ignore-scripts", "--install-links", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error")

_WORKER = Path(__file__).with_name("node_worker.cjs")


@dataclass(frozen=True)
class NodeRuntime:
    """Starts Node functions: a handler is a file whose `module.exports` is a function of context and payload.

    Attributes:
        node: the program; "" for the one on PATH.
        heap_mebibytes_max: of V8's heap; its address space can't be limited, as V8 reserves far more than it uses.
        rlimits: name of a limit in the module `resource` to its value, for each process.
        install_environment: environment variables of npm: a registry of your own, a proxy.
    """

    node: str = ""
    heap_mebibytes_max: int = 256
    rlimits: Mapping[str, int] = field(
        default_factory=lambda: {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": 1 << 28, "RLIMIT_CORE": 0}
    )
    install_environment: Mapping[str, str] = field(default_factory=dict)

    def file_name(self, handler: str) -> str:
        """Name the file of a one-file source, as its handler expects it."""
        return handler.removeprefix("./").rpartition("/")[2] or "function.js"

    async def install(self, environment: Path, manifest: str) -> None:
        """Install what a package.json asks for, for several functions to share; no script of a package is run.

        Raises:
            FunctionError: the manifest is no JSON object, or what npm says.
            SystemError: there is no npm.
        """
        try:
            is_object = isinstance(json.loads(manifest), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            raise FunctionError("package.json must be a JSON object")
        (environment / "package.json").write_text(manifest)
        npm = shutil.which("npm")
        if not npm:
            raise SystemError("packages of nodejs need npm: there is no `npm` on PATH")
        own = {"PATH": f"{Path(npm).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(environment)}
        command = [npm, "install", *_NPM_FLAGS]
        await install_packages(command, "package.json", environment, {**own, **self.install_environment})

    async def prepare(self, folder: Path, handler: str) -> None:
        """Do nothing: an archive brings its `node_modules` along."""

    async def start(self, folder: Path, handler: str) -> FunctionProcess:
        """Start a process of a deployment."""
        return await FunctionProcess.start(self.program(folder, handler))

    async def discard(self, folder: Path) -> None:
        """Do nothing: all of a deployment is in its folder."""

    def program(self, folder: Path, handler: str) -> Program:
        """Tell how to start a process of a deployment; raises SystemError where there is no Node."""
        node = self.node or shutil.which("node")
        if not node:
            raise SystemError("image nodejs needs Node.js: there is no `node` on PATH")
        source = folder / "source"
        heap = f"--max-old-space-size={self.heap_mebibytes_max}"
        return Program(
            command=(node, heap, str(_WORKER), "{fd}", str(source), handler),
            folder=source,
            environment={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "HOME": str(source),
                "NODE_PATH": str(folder / ENVIRONMENT / "node_modules"),
            },
            bounds=Bounds(tuple(self.rlimits.items())),
        )
