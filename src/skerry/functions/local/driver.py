"""The driver `local`: functions on this machine, as processes or within the Wasm engine."""

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skerry.functions.entities import Exec, Function, FunctionExecution
from skerry.functions.errors import FunctionError, NoDeployment, SystemError  # noqa: A004 - see errors
from skerry.functions.local.images import folder_of, language_of
from skerry.functions.local.pool import InstancePool, PoolSettings
from skerry.functions.local.runtimes import Runtime, default_runtimes
from skerry.functions.local.source import ENVIRONMENT, write_source
from skerry.functions.local.warm import WarmInstances, WarmSettings
from skerry.functions.messages import Context, Runnable
from skerry.kit.files import make_private_directory

_DEPLOYMENT = re.compile(r"[\w-]{1,128}")
_UNFINISHED = ".new"
_DEPLOYMENT_FILE = "deployment.json"


class LocalDriver:
    """Runs functions in instances that stay warm, from folders that outlive the driver.

    >>> import asyncio, tempfile
    >>> from skerry.functions import Exec, Function, FunctionExecution, Runner
    >>> source = b"def handle(context, payload): return f'Hello, {payload}'"
    >>> async def hello():
    ...     with tempfile.TemporaryDirectory() as folder:
    ...         async with LocalDriver(Path(folder)) as driver:
    ...             await driver.create(Function("hello", faas_id="1"), Exec(source, image="python3"))
    ...             return await Runner(driver).run(FunctionExecution(faas_id="1"), "Jon")
    >>> asyncio.run(hello())
    'Hello, Jon'
    """

    def __init__(
        self,
        directory: Path,
        runtimes: Mapping[str, Runtime] | None = None,
        settings: PoolSettings = PoolSettings(),  # noqa: B008 - frozen
        warm: WarmSettings = WarmSettings(),  # noqa: B008 - frozen
        environments: Path | None = None,
    ) -> None:
        """Make a driver of the deployments in a directory.

        Args:
            directory: one folder a deployment; made if it is not there.
            runtimes: image name to runtime; python3 and nodejs by default.
            settings: bounds of each deployment's processes.
            warm: bounds of the processes of all of them that wait for a run.
            environments: folder of what `LocalImages` made; None where there is none.
        """
        self._directory = directory
        self._runtimes: Mapping[str, Runtime] = runtimes or default_runtimes()
        self._environments = environments
        self._settings = settings
        self._warm = WarmInstances(warm)
        self._pools: dict[str, InstancePool] = {}
        #: Deployments that are being removed: their runs end, and no other begins.
        self._leaving: set[str] = set()
        make_private_directory(directory)
        for folder in directory.iterdir():
            if _is_unfinished(folder):
                shutil.rmtree(folder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def deployments(self) -> set[str]:
        """Return the `faas_id` of every deployment that is there."""
        return {folder.name for folder in self._directory.iterdir() if not folder.name.endswith(_UNFINISHED)}

    async def create(self, function: Function, exec_: Exec) -> None:
        """Write a deployment's folder, install its packages and start a first process; all of it, or nothing.

        Raises:
            FunctionError: the source cannot be unpacked, its packages not installed, its handler not loaded.
            SystemError: there is no such runtime; the disk is full; the process cannot be started.
        """
        folder = self._folder(function.faas_id)
        runtime = self._runtime(exec_.image)
        new = folder.with_name(folder.name + _UNFINISHED)
        try:
            await asyncio.to_thread(self._write, new, exec_, runtime.file_name(exec_.handler))
            await runtime.prepare(new, exec_.handler)
            # Moved before it is tried: an environment knows its own place.
            await self.delete(function)
            new.rename(folder)
        except OSError as error:
            raise SystemError(f"the deployment cannot be written: {error.strerror}") from error
        finally:
            await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        pool = self._open(function.faas_id)
        try:
            await pool.warm()
        except BaseException:
            await self.delete(function)
            raise

    def _write(self, folder: Path, exec_: Exec, file_name: str) -> None:
        (folder / "source").mkdir(parents=True)
        if environment := self._environment(exec_.image):
            (folder / ENVIRONMENT).symlink_to(environment.resolve())
        write_source(exec_.source, folder / "source", file_name)
        deployment = {"image": exec_.image, "handler": exec_.handler, "concurrency": exec_.concurrency}
        (folder / _DEPLOYMENT_FILE).write_text(json.dumps(deployment))

    async def delete(self, function: Function) -> None:
        """End a deployment's processes and remove its folder; one that is not there is no error."""
        self._leaving.add(function.faas_id)
        try:
            await self._remove(function)
        finally:
            self._leaving.discard(function.faas_id)

    async def _remove(self, function: Function) -> None:
        if pool := self._pools.get(function.faas_id):
            await pool.close()
            self._pools.pop(function.faas_id, None)
        folder = self._folder(function.faas_id)
        with suppress(FileNotFoundError):
            if runtime := self._runtimes.get(language_of(_written(folder).image)):
                await runtime.discard(folder)
        with suppress(FileNotFoundError):
            await asyncio.to_thread(shutil.rmtree, folder)

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what runs a deployment; NoDeployment is raised at its call where there is none, or none any more."""

        def run(context: Context, payload: Any) -> Awaitable[Any]:
            return self._open(execution.faas_id).run(context, payload)

        return run

    def _open(self, faas_id: str) -> InstancePool:
        if faas_id in self._leaving:
            raise NoDeployment(f"the deployment {faas_id} of the function is being removed")
        if pool := self._pools.get(faas_id):
            return pool
        folder = self._folder(faas_id)
        try:
            written = _written(folder)
        except FileNotFoundError as error:
            raise NoDeployment(f"there is no deployment {faas_id} of the function") from error
        runtime = self._runtime(written.image)
        settings = self._settings
        if written.concurrency:
            settings = replace(settings, processes_max=written.concurrency)
        pool = InstancePool(lambda: runtime.start(folder, written.handler), settings, self._warm)
        self._pools[faas_id] = pool
        return pool

    def _runtime(self, image: str) -> Runtime:
        try:
            return self._runtimes[language_of(image)]
        except KeyError:
            raise FunctionError(f"image {image!r} is none of: {', '.join(sorted(self._runtimes))}") from None

    def _environment(self, image: str) -> Path | None:
        """Return the folder of an image's packages; None where it has none."""
        if image == language_of(image):
            return None
        environment = folder_of(self._environments, image) if self._environments else None
        if environment is None or not environment.is_dir():
            raise SystemError(f"image {image} is not there")
        return environment

    def _folder(self, faas_id: str) -> Path:
        if not _DEPLOYMENT.fullmatch(faas_id):
            raise SystemError(f"faas_id {faas_id!r} must be 1 to 128 letters, digits, - and _")
        return self._directory / faas_id

    async def close(self) -> None:
        """End all processes once their runs are done; the deployments stay."""
        async with asyncio.TaskGroup() as group:
            for pool in self._pools.values():
                group.create_task(pool.close())
        self._pools.clear()
        await self._warm.close()


def _is_unfinished(folder: Path) -> bool:
    """Tell whether a process, or the power, ended as a folder's deployment was written; what is none of ours is not."""
    if folder.name.endswith(_UNFINISHED):
        return True
    try:
        _written(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (ValueError, KeyError, TypeError):
        return True
    return False


def _written(folder: Path) -> Exec:
    """Return what was written down of a deployment; raises FileNotFoundError where there is none."""
    deployment = json.loads((folder / _DEPLOYMENT_FILE).read_text())
    return Exec(b"", deployment["handler"], deployment["image"], concurrency=deployment.get("concurrency", 0))
