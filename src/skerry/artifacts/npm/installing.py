"""A function's dependencies in a folder, ready to be bundled: resolved, brought, checked, laid out, kept for a while.

    <staging>/installed-<hash of the lock>/node_modules/...

Owns these folders: how many are kept, and that none is removed while a build uses it. Nothing that a package brings is
ever run: no script, no binary.

Invariant: what a folder holds follows from its lock alone, so the same lock gives the same bundle.
"""

import asyncio
import hashlib
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from skerry.artifacts.errors import BuildError, Diagnostic, FetchError
from skerry.artifacts.fetching.http import HttpClient
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.npm.lock import LOCK, Package, dependencies_of, manifest_of, packages_of
from skerry.artifacts.npm.registry import Registry, RegistryClient
from skerry.artifacts.npm.resolving import default_registry, resolve
from skerry.artifacts.npm.tarball import Budget, unpack
from skerry.kit.deadlines import within
from skerry.kit.tasks import SharedCalls, run_blocking

#: Source files of all dependencies of one function.
INSTALLED_FILES_MAX = 50_000
#: Their bytes.
INSTALLED_BYTES_MAX = 256 * 1024 * 1024
#: Bringing and laying out one function's dependencies, in seconds.
INSTALL_SECONDS_MAX = 120.0
#: Folders that are kept for further builds.
INSTALLATIONS_MAX = 8
#: Tarballs that are brought at once; each may hold `registry.TARBALL_BYTES_MAX`.
DOWNLOADS_MAX = 8

_PREFIX = "installed-"


@dataclass(frozen=True, slots=True)
class NpmSettings:
    """How packages are had.

    Attributes:
        node: Node.js.
        program: npm; None where there is none, and then nothing is resolved.
        registry_url: where packages come from; "" for the one that npm itself would take.
        token: for the registry; "" for none.
        staging: the folder in which the folders are made; the builder's.
    """

    node: Path
    program: Path | None
    staging: Path
    registry_url: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Installed:
    """Dependencies that are laid out.

    Attributes:
        folder: holds `node_modules`; None where there are no dependencies.
        lock: the lock that was made for them; "" where they came with one, or there are none.
    """

    folder: Path | None
    lock: str = ""


class PackageInstaller:
    """Installs dependencies; an async context manager.

    Args:
        http: makes the requests.
        settings: how packages are had.
        fetching: what may be fetched.
    """

    def __init__(self, http: HttpClient, settings: NpmSettings, fetching: FetchSettings) -> None:
        self._http = http
        self._settings = settings
        self._fetching = fetching
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="npm-unpacking")  # removals must not overtake
        self._calls: SharedCalls[str, Path] = SharedCalls("npm-install")
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._used: dict[str, int] = {}
        self._slots = asyncio.Semaphore(2)
        self._client: RegistryClient | None = None

    async def __aenter__(self) -> Self:
        await self._blocking(partial(_remove_leftovers, self._settings.staging))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True)

    @asynccontextmanager
    async def installed(self, files: Mapping[str, str], *, lock: str = "") -> AsyncIterator[Installed]:
        """Lay out what the package.json among a function's files asks for, for the length of the block.

        Args:
            files: of the function; a package-lock.json among them is obeyed.
            lock: one that was made before, for files without one.

        Raises:
            BuildError: the dependencies are not there, can't be had together, or are not what the lock says.
            FetchError: they can't be had.
            BuilderError: npm failed.
        """
        dependencies = dependencies_of(files)
        if not dependencies:
            yield Installed(None)
            return
        given = files.get(LOCK, "")
        text = given or lock or await self._resolved(dependencies, files)
        packages = packages_of(text, dependencies)
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._used[key] = self._used.get(key, 0) + 1
        try:
            folder = await self._calls.run(key, lambda: self._laid_out(key, packages))
            yield Installed(folder, "" if given else text)
        finally:
            self._used[key] -= 1
            await self._trim()

    async def _resolved(self, dependencies: Mapping[str, str], files: Mapping[str, str]) -> str:
        program = self._npm()
        manifest = manifest_of(dependencies, files)
        async with self._slots:
            return await resolve(program, self._settings.node, await self._registry(), manifest)

    def _npm(self) -> Path:
        if self._settings.program is None:
            raise BuildError([Diagnostic("packages need npm, and there is none: install it beside Node.js")])
        return self._settings.program

    async def _laid_out(self, key: str, packages: list[Package]) -> Path:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        folder = self._settings.staging / f"{_PREFIX}{key}"
        try:
            async with self._slots:
                with within(INSTALL_SECONDS_MAX):
                    await self._bring(packages, folder)
        except TimeoutError as error:
            await self._blocking(partial(shutil.rmtree, folder, ignore_errors=True))
            told = f"the dependencies can't be brought within {INSTALL_SECONDS_MAX:g} seconds"
            raise FetchError("TimedOut", told) from error
        except BaseException:
            await self._blocking(partial(shutil.rmtree, folder, ignore_errors=True))
            raise
        self._kept[key] = folder
        return folder

    async def _bring(self, packages: list[Package], folder: Path) -> None:
        registry = await self._registry()
        budget = Budget(INSTALLED_FILES_MAX, INSTALLED_BYTES_MAX)
        downloads = asyncio.Semaphore(DOWNLOADS_MAX)
        await self._blocking(partial((folder / "node_modules").mkdir, parents=True))

        async def bring(package: Package) -> None:
            async with downloads:
                tarball = await registry.tarball(package)
                await self._blocking(partial(unpack, tarball, package, folder / package.place, budget))

        try:
            async with asyncio.TaskGroup() as group:
                for package in packages:
                    group.create_task(bring(package))
        except ExceptionGroup as errors:
            for error in errors.exceptions:
                if isinstance(error, BuildError | FetchError):
                    raise error from errors
            raise

    async def _registry(self) -> RegistryClient:
        if self._client is None:
            settings = self._settings
            url = settings.registry_url or await default_registry(self._npm(), settings.node)
            self._client = RegistryClient(self._http, Registry(url, settings.token), self._fetching)
        return self._client

    async def _trim(self) -> None:
        for key in tuple(self._kept):
            if len(self._kept) <= INSTALLATIONS_MAX:
                break
            if key in self._kept and not self._used.get(key):  # looked at each time: builds go on while one is removed
                await self._blocking(partial(shutil.rmtree, self._kept.pop(key), ignore_errors=True))
        for key in [key for key, users in self._used.items() if not users]:
            del self._used[key]

    async def _blocking(self, call: "partial[None]") -> None:
        await run_blocking(self._executor, call)


def _remove_leftovers(staging: Path) -> None:
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    for leftover in staging.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover)
