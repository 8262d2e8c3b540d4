"""The runtimes of typed functions on this machine, wired to the Wasm engine and to what bundles JavaScript."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from skerry.artifacts.errors import BuilderError, BuildError, FetchError
from skerry.artifacts.sources import SOURCE_SUFFIXES
from skerry.engine.messages.process import MessageWorkerSettings, run_message_worker
from skerry.functions import FunctionError, SystemError  # noqa: A004 - see functions.errors
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.images import LocalImages
from skerry.functions.local.javascript import ENTRY, JavaScriptRuntime, NeedsNodeError
from skerry.functions.local.node import NodeRuntime
from skerry.functions.local.python import PythonRuntime
from skerry.functions.local.runtimes import Runtime  # noqa: TC001 - used in an annotation of its own
from skerry.functions.local.warm import WarmSettings
from skerry.functions.local.wasm import WasmRuntime
from skerry.main.builders import Builders
from skerry.main.building import component_of, engine_cache_of
from skerry.main.configuration import Settings
from skerry.main.data_dir import DataDir

_PACKAGES = "node_modules/"
#: What comes before the reason for which the entry refuses a function's module.
_ENTRYS_WORD = re.compile(rf"^{re.escape(ENTRY)}:\d+:\d+: fails to load: Error: ")


class FunctionBundler:
    """`functions.local.javascript.Bundler`, by the builders of edge functions."""

    def __init__(self, builders: Builders) -> None:
        self._builders = builders

    async def bundle(self, files: Mapping[str, str], entrypoint: str) -> bytes:
        """Bundle files; packages that they bring along are taken as they are, others are installed."""
        sources = {path: text for path, text in files.items() if PurePosixPath(path).suffix in SOURCE_SUFFIXES}
        try:
            if any(path.startswith(_PACKAGES) for path in sources):
                built = await self._builders.javascript.build(sources, entrypoint, refuse_globals=True)
            else:
                built = (await self._builders.functions.from_files(sources, entrypoint, refuse_globals=True)).function
        except BuildError as error:
            if error.needs_node:
                raise NeedsNodeError(error.public) from error
            raise FunctionError(_ENTRYS_WORD.sub("", error.public)) from error
        except FetchError as error:
            raise FunctionError(error.public) from error
        except BuilderError as error:
            raise SystemError(error.public) from error
        return built.wasm


@asynccontextmanager
async def local_driver(
    settings: Settings, data_dir: DataDir, sockets: Path, builders: Builders, *, api_port: int = 0
) -> AsyncIterator[tuple[LocalDriver, LocalImages]]:
    """Run functions on this machine for the length of the block; yield the driver, and what makes its images.

    Args:
        settings: of the engine and its functions.
        data_dir: has the deployments.
        sockets: a folder for the engine's socket.
        builders: bundle JavaScript.
        api_port: where the API listens, which functions reach only where a rule names it.
    """
    worker = MessageWorkerSettings(
        run_dir=sockets,
        functions_dir=data_dir.message_functions,
        engine_cache=engine_cache_of(settings, data_dir),
        component=component_of(settings),
        memory_bytes_max=settings.worker_memory_bytes_max,
        egress_allow=settings.egress_allow,
        control_plane_ports=(api_port,),
        egress_ca_file=settings.egress_ca_file,
    )
    node = NodeRuntime()
    async with run_message_worker(worker) as engine:
        runtimes: dict[str, Runtime] = {
            "python3": PythonRuntime(),
            "nodejs": JavaScriptRuntime(engine, FunctionBundler(builders), node),
            "nodejs-node": node,
            "wasm": WasmRuntime(engine),
        }
        images = LocalImages(data_dir.images, runtimes)
        warm = WarmSettings(settings.faas_warm_processes_max)
        async with LocalDriver(data_dir.deployments, runtimes, warm=warm, environments=data_dir.images) as driver:
            yield driver, images
