"""JavaScript and TypeScript files in, a small Wasm binary out.

    files -> staged in a private folder -> bundled by esbuild -> wrapped (`wasm_module`) -> tried in the engine

Owns the order of these steps, their limits, and the author's view of every failure: file, line, column. Does
not own where the result is kept, nor the engine: a `BundleCheck` is handed in.

Invariants: nothing outside the staged folder is read into a bundle (`bundle.mjs`), and the same files give the
same bytes, because no path, time or version of this machine enters them.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from prometheus_client import Histogram

from skerry.artifacts import sources
from skerry.artifacts.bundler import IDLE_SECONDS_MAX, Bundlers, BundlerSettings, Job
from skerry.artifacts.errors import BuilderError, BuildError, BundleRefusedError, Diagnostic, shortened
from skerry.artifacts.wasm_module import javascript_module
from skerry.kit.errors import ConfigurationError
from skerry.kit.source_map import SourceMap

T = TypeVar("T")
BUILD_SECONDS = Histogram("skerry_javascript_build_seconds", "Time of one build, its wait for a slot left out.")

#: Builds at once: each is one core for some 0.2 s, and serving comes first.
BUILDS_MAX = 2

#: Time of one bundling; an honest one takes a fraction of a second, also on a busy machine.
BUNDLE_SECONDS_MAX = 30.0

#: Bytes of a bundle with its source map; the linked module's memory may be 64 MiB.
BUNDLE_BYTES_MAX = 32 * 1024 * 1024


class BundleCheck(Protocol):
    """Proves that a function's Wasm binary loads in the engine."""

    async def check(self, wasm: bytes) -> None:
        """Load it once; raises BundleRefusedError, with the place in the bundle where the engine knows it."""
        ...


@dataclass(frozen=True, slots=True)
class JavaScriptSettings:
    """Where the builder finds its tools, and its limits.

    Attributes:
        node: the Node.js program, version 20 or later; an absolute path.
        esbuild: the folder of the esbuild npm package, such as `js-engine/node_modules/esbuild`.
        staging: a folder of the builder's own for files in work; it is emptied at start.
        builds_max: builds at once.
        bundle_seconds_max: time of one bundling, in seconds.
        bundle_bytes_max: size of one bundle with its source map, in bytes.
        idle_seconds_max: how long a bundler is kept that has nothing to do, in seconds.
    """

    node: Path
    esbuild: Path
    staging: Path
    builds_max: int = BUILDS_MAX
    bundle_seconds_max: float = BUNDLE_SECONDS_MAX
    bundle_bytes_max: int = BUNDLE_BYTES_MAX
    idle_seconds_max: float = IDLE_SECONDS_MAX

    def __post_init__(self) -> None:
        for name, path, present in (
            ("node", self.node, self.node.is_absolute() and self.node.is_file()),
            ("esbuild", self.esbuild, (self.esbuild / "lib" / "main.js").is_file()),
        ):
            if not present:
                raise ConfigurationError(f"{name}: nothing usable at {path}; `make setup` installs it")
        if min(self.builds_max, self.bundle_seconds_max, self.bundle_bytes_max) <= 0:
            raise ConfigurationError("builds_max, bundle_seconds_max and bundle_bytes_max must be above 0")


@dataclass(frozen=True, slots=True)
class BuiltFunction:
    """What a build makes.

    Attributes:
        wasm: the function's Wasm binary.
        bundle_bytes: size of the JavaScript in it.
        warnings: what esbuild thinks odd, such as a comparison that is always false.
    """

    wasm: bytes
    bundle_bytes: int
    warnings: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _Bundle:
    """What `bundle.mjs` says."""

    code: str
    map: str
    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


class JavaScriptBuilder:
    """Builds functions; use it as an async context manager.

    Args:
        settings: tools and limits.
        checker: tries each result in the engine.
    """

    def __init__(self, settings: JavaScriptSettings, checker: BundleCheck) -> None:
        self._settings = settings
        self._checker = checker
        self._slots = asyncio.Semaphore(settings.builds_max)
        self._executor = ThreadPoolExecutor(settings.builds_max, thread_name_prefix="javascript-staging")
        self._bundlers = Bundlers(
            BundlerSettings(
                settings.node,
                settings.esbuild,
                job_seconds_max=settings.bundle_seconds_max,
                answer_bytes_max=settings.bundle_bytes_max,
                idle_seconds_max=settings.idle_seconds_max,
            )
        )

    async def __aenter__(self) -> Self:
        await self._run(lambda: sources.remove_leftovers(self._settings.staging))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._bundlers.__aexit__(kind, error, trace)
        self._executor.shutdown(wait=True)

    async def build(
        self, files: Mapping[str, str], entrypoint: str, *, packages: Path | None = None, refuse_globals: bool = False
    ) -> BuiltFunction:
        """Bundle the files, and prove that the engine loads the result.

        Args:
            files: content by path; paths are relative, with "/".
            entrypoint: the path of the module that holds the handler.
            packages: a folder whose `node_modules` the files may import from; they are staged beside it.
            refuse_globals: whether code that names a global of Node.js is at fault, as code that imports its modules.

        Raises:
            BuildError: the source is at fault; the diagnostics name file and line.
            BuilderError: the build could not be carried out; a later try may succeed.
        """
        sources.check(files, entrypoint)
        async with self._slots:
            with BUILD_SECONDS.time():
                bundle = await self._bundle(
                    files, partial(Job, entrypoint=entrypoint, refuse_globals=refuse_globals), packages
                )
                if bundle.errors:
                    raise BuildError(bundle.errors)
                wasm = javascript_module(bundle.code, source_map=bundle.map)
                await self._check(wasm, bundle, files)
        return BuiltFunction(wasm, bundle_bytes=len(bundle.code.encode()), warnings=bundle.warnings)

    async def _bundle(self, files: Mapping[str, str], job: "partial[Job]", packages: Path | None) -> _Bundle:
        modules = packages / "node_modules" if packages else None
        with ExitStack() as stack:
            try:
                parent = packages or self._settings.staging
                root = await self._run(lambda: stack.enter_context(sources.staged(files, parent)))
                return _parsed(await self._bundlers.bundle(job(root, modules=modules)))
            except OSError as error:
                raise BuilderError(
                    f"the source files could not be staged: {error.strerror}", detail=str(error)
                ) from error
            finally:
                await self._run(stack.close)

    async def _check(self, wasm: bytes, bundle: _Bundle, files: Mapping[str, str]) -> None:
        try:
            await self._checker.check(wasm)
        except BundleRefusedError as error:
            raise BuildError([_in_the_source(error, bundle, files)]) from error

    async def _run(self, call: Callable[[], T]) -> T:
        """Run a blocking call to its end, also when cancelled: staging and its removal must never overlap."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


def _parsed(document: dict[str, Any]) -> _Bundle:
    try:
        return _Bundle(
            code=document["code"],
            map=document["map"],
            errors=tuple(_diagnostic(entry) for entry in document["errors"]),
            warnings=tuple(_diagnostic(entry) for entry in document["warnings"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BuilderError("the bundler said something unreadable", detail=repr(document)[:500]) from error


def _diagnostic(entry: dict[str, Any]) -> Diagnostic:
    """Take a diagnostic of esbuild's; its column is in bytes of UTF-8 from 0, ours in characters from 1."""
    excerpt = entry["excerpt"]
    before = excerpt.encode()[: entry["column"]].decode(errors="replace")
    return Diagnostic(
        message=entry["message"],
        file=entry["file"],
        line=entry["line"],
        column=len(before) + 1 if entry["line"] else 0,
        excerpt=shortened(excerpt),
        needs_node=entry["needsNode"],
    )


def _in_the_source(error: BundleRefusedError, bundle: _Bundle, files: Mapping[str, str]) -> Diagnostic:
    """Tell the engine's refusal in the author's own file and line; without them where the map has none."""
    place = SourceMap.parse(bundle.map).origin(error.line, error.column) if bundle.map else None
    if place is None or place.file not in files:
        return Diagnostic(f"fails to load: {error.message}")
    lines = files[place.file].splitlines()
    excerpt = lines[place.line - 1] if place.line <= len(lines) else ""
    before = excerpt.encode("utf-16-le")[: 2 * (place.column - 1)].decode("utf-16-le", errors="replace")
    return Diagnostic(f"fails to load: {error.message}", place.file, place.line, len(before) + 1, shortened(excerpt))
