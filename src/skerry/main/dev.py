"""`skerry dev`: one engine worker, one builder and one port, for the folder that its author works in.

Owns the wiring and the order of start and stop. There is no API, and a gateway only where a filter has a backend to
stand before. What is built, and what runs it, are those of `skerry up`, so a function behaves as it will when it is
deployed.
"""

import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

from skerry.agent.development.front import DevelopmentFront, served
from skerry.agent.development.gateway import DevelopmentGateway, Upstream, development_gateway
from skerry.agent.development.project import Wishes, read_egress_policies, read_project
from skerry.agent.development.session import DevelopmentSession, Places, Reporter
from skerry.agent.development.watching import Watcher
from skerry.agent.egress import EgressStage
from skerry.artifacts.fetching.http import HttpClient
from skerry.artifacts.functions import FunctionBuilder
from skerry.artifacts.javascript import JavaScriptBuilder, JavaScriptSettings
from skerry.artifacts.npm.installing import PackageInstaller
from skerry.engine.check import BundleChecker
from skerry.engine.component import check_component
from skerry.engine.function_logs import FunctionLogs
from skerry.engine.workers import WorkerSettings, run_workers
from skerry.kit import logs as logging
from skerry.kit.tasks import background
from skerry.main.adapters import EngineBundleCheck
from skerry.main.building import component_of, fetch_settings, find_node, npm_settings
from skerry.main.configuration import Settings
from skerry.main.ending import ended_by_signals
from skerry.main.setting_values import Address

#: The bundler stays while the author thinks.
BUNDLER_IDLE_SECONDS_MAX = 24 * 3600.0
#: Where the engine is kept unless the setting says otherwise.
_CACHE_DIR = Path("~/.cache/skerry")
#: The egress policies for the worker, beside its socket.
_EGRESS_FILE = "egress.json"


async def run_dev(
    settings: Settings,
    folder: Path,
    wishes: Wishes,
    address: Address,
    reporter: Reporter,
    when_ready: Callable[[str], None],
) -> None:
    """Run until SIGINT or SIGTERM.

    Args:
        settings: as of `skerry up`.
        folder: of the function.
        wishes: of the command line.
        address: where to listen.
        reporter: tells the author.
        when_ready: called with the URL.

    Raises:
        ConfigurationError: the folder is none of a function.
        StartError: a part could not start.
    """
    logging.configure(style="text", level="WARNING")
    os.umask(0o077)
    check_component(component_of(settings))
    function, policies = read_project(folder, wishes), read_egress_policies(wishes.egress_policies)
    upstream = Upstream.parse(wishes.upstream) if wishes.upstream else None
    async with AsyncExitStack() as stack:
        told = stack.enter_context(ended_by_signals())
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-dev-")))
        state = settings.data_dir.absolute() / "dev" / function.name
        worker = _worker_settings(settings, sockets, state)
        builder, checker = await _builder(stack, settings, sockets)
        executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="watching"))
        await EgressStage(sockets / _EGRESS_FILE, policies, [function], executor).stage()
        workers = await stack.enter_async_context(run_workers(worker))
        gateway = await _gateway(stack, upstream, workers.socket_paths[0], sockets)
        places = Places(worker.functions_dir, sockets / "binaries", gateway)
        session = DevelopmentSession(folder, wishes, builder, checker, places, reporter)
        function_logs = FunctionLogs(worker.logs_dir)
        stack.callback(function_logs.close)
        front = DevelopmentFront(session, workers.socket_paths[0], function_logs, reporter, gateway)
        watcher = Watcher(folder, executor)
        stamp = await watcher.stamp()
        await session.build(watcher)
        url = await stack.enter_async_context(served(front, address.host, address.port))
        when_ready(url)
        loops = (
            ("development", lambda: session.run(watcher, stamp)),
            ("development-log", lambda: _tell_log(function_logs, function.name, reporter)),
        )
        await stack.enter_async_context(background(*loops))
        await told.wait()


async def _gateway(
    stack: AsyncExitStack, upstream: Upstream | None, worker: Path, sockets: Path
) -> DevelopmentGateway | None:
    if upstream is None:
        return None
    return await stack.enter_async_context(development_gateway(upstream, worker, sockets))


async def _builder(
    stack: AsyncExitStack, settings: Settings, sockets: Path
) -> tuple[FunctionBuilder, EngineBundleCheck]:
    fetching = fetch_settings(settings)
    build = JavaScriptSettings(
        node=find_node(),
        esbuild=settings.js_engine_dir / "node_modules" / "esbuild",
        staging=sockets / "builds",
        idle_seconds_max=BUNDLER_IDLE_SECONDS_MAX,
    )
    checker = await stack.enter_async_context(BundleChecker(component_of(settings), engine_cache(settings)))
    check = EngineBundleCheck(checker)
    javascript = await stack.enter_async_context(JavaScriptBuilder(build, check))
    http = await stack.enter_async_context(HttpClient(fetching))
    packages = PackageInstaller(http, npm_settings(settings, build), fetching)
    return FunctionBuilder(javascript, await stack.enter_async_context(packages)), check


def engine_cache(settings: Settings) -> Path:
    """Return where the compiled engine is kept: one place for all folders, since compiling it takes some 20 s."""
    return (settings.cache_dir or _CACHE_DIR.expanduser()) / "engine"


def _worker_settings(settings: Settings, sockets: Path, state: Path) -> WorkerSettings:
    for folder in (state / "kv", state / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    return WorkerSettings(
        run_dir=sockets,
        functions_dir=sockets / "functions",
        logs_dir=sockets / "logs",
        kv_file=state / "kv" / "kv.db",
        engine_cache=engine_cache(settings),
        component=component_of(settings),
        count=1,
        egress_allow=settings.egress_allow,
        egress_file=sockets / _EGRESS_FILE,
        egress_ca_file=settings.egress_ca_file,
        memory_bytes_max=settings.worker_memory_bytes_max,
        drain_seconds=1.0,
    )


async def _tell_log(logs: FunctionLogs, function: str, reporter: Reporter) -> None:
    async for line in logs.read(function, follow=True):
        entry = json.loads(line)
        reporter.logged(str(entry.get("level", "")), str(entry.get("message", "")))
