"""The runtime `wasm`: programs and components, within the Wasm engine.

A program reads one message on standard input, writes its answer to standard output, and its log to standard error. A
component of our own world takes the message as the body of a request. What a binary is, it tells by itself.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skerry.functions.errors import FunctionError
from skerry.functions.local.engine import BINARY, Engine, EngineInstance, forget

_MAGIC = b"\0asm"
_SUFFIX = ".wasm"


@dataclass(frozen=True)
class WasmRuntime:
    """Starts functions that are Wasm binaries: the source is one, or an archive with it.

    Attributes:
        engine: runs them.
    """

    engine: Engine

    def file_name(self, handler: str) -> str:
        """Name the file of a one-file source."""
        return PurePosixPath(handler).name or f"function{_SUFFIX}"

    async def install(self, environment: Path, manifest: str) -> None:  # noqa: ARG002 - there is nothing to install
        """Refuse packages: a binary has all that it needs."""
        raise FunctionError("a Wasm function has no packages: leave the runtime dependencies of its image empty")

    async def prepare(self, folder: Path, handler: str) -> None:
        """Put the binary where the engine finds it; raises FunctionError where there is none."""
        await asyncio.to_thread(_put_binary, folder, handler)

    async def start(self, folder: Path, handler: str) -> EngineInstance:  # noqa: ARG002 - a binary has one entry
        """Start an instance within the engine."""
        return await EngineInstance.start(self.engine, folder, is_program=True)

    async def discard(self, folder: Path) -> None:
        """Let the engine forget a deployment."""
        forget(self.engine, folder)


def _put_binary(folder: Path, handler: str) -> None:
    binary = _found(folder / "source", handler).read_bytes()
    if not binary.startswith(_MAGIC):
        raise FunctionError("the source is no WebAssembly: give a binary, or an archive (tar in gzip) with one")
    (folder / BINARY).write_bytes(binary)


def _found(source: Path, handler: str) -> Path:
    """Return the file that a handler names; "" names the only *.wasm file."""
    if handler:
        path = source / PurePosixPath(handler)
        if not path.is_file() or not path.resolve().is_relative_to(source.resolve()):
            raise FunctionError(f"Invalid function file or handler: there is no file {handler}")
        return path
    files = sorted(source.glob(f"*{_SUFFIX}"))
    if len(files) != 1:
        raise FunctionError(f"Exactly 1 source file needed when HANDLER is empty, and there are {len(files)}")
    return files[0]
