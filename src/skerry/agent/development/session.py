"""A function that is built at every save, and what of it can be asked just now.

    save -> read the folder -> build, as the control plane would -> a new revision for the worker -> serve it

Owns the order of these steps, and the revisions. Does not own who asks (`front`) nor what is printed (`Reporter`).

Invariant: a revision is served once its manifest is written; while the present source does not build, nothing is served
but the reason.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from skerry.agent.development.project import Wishes, read_project, read_variables
from skerry.agent.development.watching import Stamp, Watcher
from skerry.agent.manifests import function_manifest
from skerry.api.apoxy_function_code import pinned_place
from skerry.api.code_urls import FileUrl
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.function_template import FILTER
from skerry.artifacts.errors import BuildError, BundleRefusedError
from skerry.artifacts.functions import FunctionBuilder
from skerry.engine.manifest import remove_manifest, write_manifest
from skerry.kit.errors import ConfigurationError, SkerryError

#: How long an older revision is kept for the requests that it still answers.
GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Serving:
    """The function can be asked.

    Attributes:
        function: its name.
        revision: which state of it.
        files: its source files by path.
        is_filter: whether it sees requests on their way through the gateway, or answers them.
    """

    function: str
    revision: str
    files: dict[str, str]
    is_filter: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """The present source does not build: a sentence, and the lines that it is about."""

    message: str
    excerpts: tuple[str, ...] = ()


State = Serving | Broken


class BinaryCheck(Protocol):
    """Tries binaries in the engine."""

    async def check(self, wasm: bytes, *, is_filter: bool = False) -> None:
        """Load a binary once, to be run in one of the modes; raises BundleRefusedError."""
        ...


class Reporter(Protocol):
    """Tells the author."""

    def built(self, function: str, seconds: float, warnings: tuple[str, ...]) -> None:
        """Say that the present source is served."""
        ...

    def broken(self, state: Broken) -> None:
        """Say that it does not build."""
        ...

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Say that a request was answered."""
        ...

    def logged(self, level: str, message: str) -> None:
        """Say what the function wrote to its console."""
        ...


class Gateway(Protocol):
    """What requests pass a filter in."""

    async def show(self, function: EdgeFunction, revision: str) -> None:
        """Have requests pass a revision from now on; raises SkerryError."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where the session brings what it makes.

    Attributes:
        functions: manifests for the worker.
        binaries: of revisions.
        gateway: takes filters; None where there is no backend for them to stand before.
    """

    functions: Path
    binaries: Path
    gateway: Gateway | None = None


class DevelopmentSession:
    """See above.

    Args:
        folder: of the function.
        wishes: of the command line.
        builder: makes Wasm of JavaScript.
        checker: tries what is built elsewhere.
        places: where results go.
        reporter: tells the author.
    """

    def __init__(
        self,
        folder: Path,
        wishes: Wishes,
        builder: FunctionBuilder,
        checker: BinaryCheck,
        places: Places,
        reporter: Reporter,
    ) -> None:
        self._folder = folder
        self._wishes = wishes
        self._builder = builder
        self._checker = checker
        self._places = places
        self._reporter = reporter
        self._revisions = 0
        self._locks: dict[str, str] = {}
        self.state: State = Broken("the function is being built for the first time")

    async def run(self, watcher: Watcher, stamp: Stamp) -> None:
        """Build at every save after the one that a stamp was taken of; never returns."""
        while True:
            await watcher.changed_since(stamp)
            stamp = await watcher.stamp()
            await self.build(watcher)

    async def build(self, watcher: Watcher) -> None:
        """Build the present source, and serve it or the reason why not."""
        started = time.perf_counter()
        try:
            function = await asyncio.to_thread(self._read)
            warnings = await self._build(function, watcher)
        except BuildError as error:
            self.state = Broken(error.public, tuple(d.excerpt for d in error.diagnostics if d.excerpt))
        except (SkerryError, OSError) as error:
            self.state = Broken(error.public if isinstance(error, SkerryError) else str(error))
        else:
            self._reporter.built(function.name, time.perf_counter() - started, warnings)
            return
        self._reporter.broken(self.state)

    def _read(self) -> EdgeFunction:
        env = {**read_variables(self._folder), **self._wishes.env}
        return read_project(self._folder, replace(self._wishes, env=env))

    async def _build(self, function: EdgeFunction, watcher: Watcher) -> tuple[str, ...]:
        template = function.spec.template
        is_filter = template.mode == FILTER
        if is_filter and self._places.gateway is None:
            raise ConfigurationError("mode filter: name the backend that it stands before, --upstream URL")
        code = template.code
        if code.wasm_source:
            place, _ = pinned_place(code.wasm_source.url)
            if not isinstance(place, FileUrl):
                raise ConfigurationError("wasmSource.url: skerry dev runs a binary of this folder: ./NAME.wasm")
            watcher.watch_also(Path(place.path))
            content = await asyncio.to_thread(Path(place.path).read_bytes)
            try:
                await self._checker.check(content, is_filter=is_filter)
            except BundleRefusedError as error:
                raise ConfigurationError(error.message) from error
            await self._serve(function, content, {})
            return ()
        if code.js_source is None or code.js_source.assets is None:
            raise ConfigurationError("skerry dev builds the files of its folder: leave assets, git and npm out")
        files = {file.path: file.content for file in code.js_source.assets.files}
        manifest = files.get("package.json", "")
        built = await self._builder.from_files(files, code.js_source.entrypoint, lock=self._locks.get(manifest, ""))
        self._locks = {manifest: built.lock}  # resolved once for each package.json
        await self._serve(function, built.function.wasm, files)
        return tuple(str(warning) for warning in built.function.warnings)

    async def _serve(self, function: EdgeFunction, wasm: bytes, files: dict[str, str]) -> None:
        before = self.state.revision if isinstance(self.state, Serving) else None
        self._revisions += 1
        revision = f"dev-{self._revisions}"
        binary = self._places.binaries / f"{revision}.wasm"
        manifest = function_manifest(function, revision, function.spec.template, binary)

        def write() -> None:
            binary.parent.mkdir(parents=True, exist_ok=True)
            binary.write_bytes(wasm)
            write_manifest(self._places.functions, manifest)

        await asyncio.to_thread(write)
        is_filter = function.spec.template.mode == FILTER
        if is_filter and self._places.gateway:
            await self._places.gateway.show(function, revision)
        self.state = Serving(function.name, revision, files, is_filter)
        if before is not None:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._forget, before)

    def _forget(self, revision: str) -> None:
        remove_manifest(self._places.functions, revision)
        (self._places.binaries / f"{revision}.wasm").unlink(missing_ok=True)
