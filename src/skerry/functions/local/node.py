"""The runtime `nodejs`: functions of JavaScript on Node."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skerry.functions.errors import SystemError  # noqa: A004 - see errors
from skerry.functions.local.process import FunctionProcess, Program

_LAUNCH = Path(__file__).with_name("launch.py")
_WORKER = Path(__file__).with_name("node_worker.cjs")


@dataclass(frozen=True)
class NodeRuntime:
    """Starts Node functions: a handler is a file whose `module.exports` is a function of context and payload.

    Attributes:
        node: the program; "" for the one on PATH.
        heap_mebibytes_max: of V8's heap; its address space can't be limited, as V8 reserves far more than it uses.
        rlimits: name of a limit in the module `resource` to its value, for each process.
    """

    node: str = ""
    heap_mebibytes_max: int = 256
    rlimits: Mapping[str, int] = field(
        default_factory=lambda: {"RLIMIT_NOFILE": 256, "RLIMIT_FSIZE": 1 << 28, "RLIMIT_CORE": 0}
    )

    def file_name(self, handler: str) -> str:
        """Name the file of a one-file source, as its handler expects it."""
        return handler.removeprefix("./").rpartition("/")[2] or "function.js"

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
        limits = json.dumps(dict(self.rlimits))
        heap = f"--max-old-space-size={self.heap_mebibytes_max}"
        return Program(
            command=(
                sys.executable,
                "-I",
                str(_LAUNCH),
                limits,
                node,
                heap,
                str(_WORKER),
                "{fd}",
                str(source),
                handler,
            ),
            folder=source,
            environment={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(source)},
        )
