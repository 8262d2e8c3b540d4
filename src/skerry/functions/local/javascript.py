"""The runtime `nodejs`: functions of JavaScript, within the Wasm engine where they can, on Node.js where they must.

Which of the two is decided when a function is deployed, by what its code names (`Bundler`): a module of Node.js, an
addon in machine code, or one of Node's globals. `nodejs-node` is Node.js in any case (`node.NodeRuntime`).
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from skerry.functions.errors import FunctionError
from skerry.functions.local.engine import BINARY, Engine, EngineInstance, forget
from skerry.functions.local.node import NodeRuntime
from skerry.functions.local.pool import FunctionInstance
from skerry.functions.local.source import ENVIRONMENT

#: The module that stands between the engine and the function's own; no file of a function may be called so.
ENTRY = "skerry-entry.js"
_ENTRY_SOURCE = Path(__file__).with_name("engine_entry.js")


class NeedsNodeError(Exception):
    """A function's code names what only Node.js has; the message says what."""


class Bundler(Protocol):
    """Makes one Wasm binary of JavaScript files."""

    async def bundle(self, files: Mapping[str, str], entrypoint: str) -> bytes:
        """Bundle files, by path, and prove that they load.

        Raises:
            NeedsNodeError: the code names what only Node.js has.
            FunctionError: the code is at fault; file and line are told.
            SystemError: the bundler is.
        """
        ...


@dataclass(frozen=True)
class JavaScriptRuntime:
    """Starts JavaScript functions: a handler is a file whose `module.exports` is a function of context and payload.

    Attributes:
        engine: runs those that don't need Node.js.
        bundler: makes binaries of them.
        node: runs the others.
    """

    engine: Engine
    bundler: Bundler
    node: NodeRuntime = field(default_factory=NodeRuntime)

    def file_name(self, handler: str) -> str:
        """Name the file of a one-file source, as its handler expects it."""
        return self.node.file_name(handler)

    async def install(self, environment: Path, manifest: str) -> None:
        """Install what a package.json asks for, as for Node.js."""
        await self.node.install(environment, manifest)

    async def prepare(self, folder: Path, handler: str) -> None:
        """Write the function's binary, or none where it needs Node.js; raises InvocationError."""
        files = await asyncio.to_thread(_files, folder, handler)
        try:
            binary = await self.bundler.bundle(files, ENTRY)
        except NeedsNodeError:
            return
        await asyncio.to_thread((folder / BINARY).write_bytes, binary)

    async def start(self, folder: Path, handler: str) -> FunctionInstance:
        """Start an instance within the engine, or a process of Node.js."""
        if (folder / BINARY).exists():
            return await EngineInstance.start(self.engine, folder)
        return await self.node.start(folder, handler)

    async def discard(self, folder: Path) -> None:
        """Let the engine forget a deployment."""
        forget(self.engine, folder)


def _files(folder: Path, handler: str) -> dict[str, str]:
    """Read what a deployment is bundled of, with the entry; raises FunctionError where the handler names no file."""
    source = folder / "source"
    return {**_texts(folder / ENVIRONMENT), **_texts(source), ENTRY: _entry(_module(source, handler))}


def _texts(source: Path) -> dict[str, str]:
    """Read every file that is text, by its path with "/"; which of them count is the bundler's affair."""
    texts = {}
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            try:
                texts[path.relative_to(source).as_posix()] = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # no source of JavaScript
    return texts


def _module(source: Path, handler: str) -> str:
    """Return the path of the module that a handler names; "" names the only *.js file."""
    if handler:
        module = str(PurePosixPath(handler))
        if not (source / module).is_file():
            raise FunctionError(f"Invalid function file or handler: there is no file {module}")
        return module
    files = [path.name for path in source.glob("*.js")]
    if len(files) != 1:
        raise FunctionError(f"Exactly 1 source file needed when HANDLER is empty, and there are {len(files)}")
    return files[0]


def _entry(module: str) -> str:
    return _ENTRY_SOURCE.read_text("utf-8").replace('"HANDLER"', json.dumps(f"./{module}"))
