"""The engine workers of one machine: their sockets, their processes, and whether they answer.

Owns the listening Unix sockets. A worker inherits its socket, so while a killed worker is being started again its
clients' connections wait in the backlog instead of being refused. Invariant: when `run_workers` yields, every
worker has answered a request.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from skerry.engine.component import check_component
from skerry.engine.egress import EgressPolicy
from skerry.engine.upstream.dialing import tls_context
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError, StartError
from skerry.kit.logs import get_logger
from skerry.kit.processes import Command, Supervised, supervise

log = get_logger(__name__)

#: sun_path of sockaddr_un has 108 bytes on Linux, its end mark included; other systems have 104.
SOCKET_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103
BACKLOG = 1024
#: The first start of a machine compiles the engine, which takes 10 s on an idle core.
START_SECONDS_MAX = 120.0
HEALTH_SECONDS_MAX = 5.0
#: Room for one function at the default limit of its memory.
WORKER_MEMORY_BYTES_MIN = 128 * 1024 * 1024
_HEALTH_RETRY_SECONDS = 0.02
#: How often it is looked whether a worker that does not answer yet has ended, which its socket's backlog does not tell.
_START_LOOK_SECONDS = 1.0
#: The counts of 10,000 functions, a kilobyte each, and room.
_ANSWER_BYTES_MAX = 32 * 1024 * 1024
_PIECE_BYTES = 64 * 1024
_REQUEST = b"GET /__skerry/%s HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the workers of one machine need.

    Attributes:
        run_dir: where the sockets are made.
        functions_dir: where manifests are (see `manifest`).
        logs_dir: where the functions' console output goes.
        kv_file: where functions keep keys and values.
        kv_socket: of who keeps them instead, for all nodes (`kv_server`); None for the file.
        engine_cache: where compiled code is kept; readable and writable for this user only.
        component: the JavaScript engine component, `js-engine/dist/skerry-js-engine.wasm`.
        count: how many processes.
        threads_max: calls that may wait or take long at once in one worker; then it reads no further requests.
        memory_bytes_max: what the instances of one worker may take together (`pool.PoolLimits`).
        egress_allow: what functions may reach besides public addresses (`egress.EgressPolicy.parse`).
        egress_file: where the egress policies of functions are (`egress_file.write_policies`); None for none.
        control_plane_ports: ports of this machine that functions reach only where a rule names them.
        egress_ca_file: more certificate authorities that they trust, PEM.
        drain_seconds: how long running requests may take after SIGTERM.
    """

    run_dir: Path
    functions_dir: Path
    logs_dir: Path
    kv_file: Path
    engine_cache: Path
    component: Path
    kv_socket: Path | None = None
    count: int = 1
    threads_max: int = 256
    memory_bytes_max: int = 1024 * 1024 * 1024
    egress_allow: tuple[str, ...] = ()
    egress_file: Path | None = None
    control_plane_ports: tuple[int, ...] = ()
    egress_ca_file: Path | None = None
    drain_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.threads_max < 1:
            raise ConfigurationError("engine workers: count and threads_max must be positive")
        if self.memory_bytes_max < WORKER_MEMORY_BYTES_MIN:
            raise ConfigurationError(f"engine workers: memory_bytes_max must be at least {WORKER_MEMORY_BYTES_MIN}")
        try:
            EgressPolicy.parse(self.egress_allow)
        except ValueError as error:
            raise ConfigurationError(f"egress_allow: {error}") from error
        if self.egress_ca_file is not None:
            _check_authorities(self.egress_ca_file)
        longest = len(os.fsencode(self.socket_path(self.count - 1).absolute()))
        if longest > SOCKET_PATH_BYTES_MAX:
            raise ConfigurationError(
                f"the path of the engine workers' sockets, {self.socket_path(self.count - 1).absolute()}, has "
                f"{longest} bytes and the system takes {SOCKET_PATH_BYTES_MAX}: choose a shorter data directory"
            )

    def socket_path(self, index: int) -> Path:
        """Return the socket of the worker of this index, from 0."""
        return self.run_dir / f"engine-{index}.sock"


def _check_authorities(ca_file: Path) -> None:
    try:
        tls_context(ca_file)
    except OSError as error:  # an SSLError is one
        raise ConfigurationError(f"egress_ca_file: {ca_file} can't be used: {error}") from error


class Workers:
    """Running workers, as `run_workers` yields them."""

    def __init__(self, socket_paths: tuple[Path, ...], processes: tuple[Supervised, ...]) -> None:
        self.socket_paths = socket_paths
        self._processes = processes

    @property
    def pids(self) -> tuple[int | None, ...]:
        """The process ids; None for a worker between two lives."""
        return tuple(process.pid for process in self._processes)

    async def missing(self) -> str:
        """Return "" where a worker answers, else what keeps them."""
        for path, process in zip(self.socket_paths, self._processes, strict=True):
            if process.pid is not None and (not process.failing or await _answers(path)):
                return ""
        failing = [process.failing for process in self._processes if process.failing]
        return f"no engine worker runs: {failing[0]}" if failing else "no engine worker runs"

    async def statistics(self) -> list[dict[str, int]]:
        """Return what each worker counts; raises OSError or TimeoutError where one does not answer."""
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_health(path)) for path in self.socket_paths]
        return [task.result() for task in asked]

    async def by_function(self, index: int) -> tuple[int, dict[str, dict[str, Any]]]:
        """Return what one worker counts of each function, and which of its lives that is (`function_metrics`).

        Raises:
            OSError, ValueError, TimeoutError: it does not answer, or not with that.
        """
        told = await _ask(self.socket_paths[index], "functions", HEALTH_SECONDS_MAX)
        return told["life"], told["functions"]


@asynccontextmanager
async def run_workers(settings: WorkerSettings) -> AsyncIterator[Workers]:
    """Run the workers for the length of the block; they drain on exit.

    Raises:
        StartError: a socket cannot be made, the component is missing or another code's, a worker ends as it starts, or
            does not answer in time.
    """
    check_component(settings.component)
    async with AsyncExitStack() as stack:
        sockets = [listen(settings.socket_path(index)) for index in range(settings.count)]
        for index, sock in enumerate(sockets):
            stack.callback(_close, sock, settings.socket_path(index))
        processes = []
        for index, sock in enumerate(sockets):
            processes.append(await stack.enter_async_context(supervise(_command(settings, index, sock))))
        paths = tuple(settings.socket_path(index) for index in range(settings.count))
        await _wait_until_ready(paths, processes)
        log.info("engine workers are ready", workers=settings.count)
        yield Workers(paths, tuple(processes))


def listen(path: Path) -> socket.socket:
    """Return a listening Unix socket for this user alone; raises StartError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of a life that was killed; the data directory's lock keeps out a living one
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path.absolute()))
        path.chmod(0o600)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise StartError(f"the engine worker's socket {path} cannot be made: {error.strerror}") from error
    return sock


def _close(sock: socket.socket, path: Path) -> None:
    sock.close()
    path.unlink(missing_ok=True)


def _kept_in(settings: WorkerSettings) -> tuple[str, str]:
    """Return the flag of where keys and values are."""
    if settings.kv_socket is not None:
        return ("--kv-socket", str(settings.kv_socket.absolute()))
    return ("--kv-file", str(settings.kv_file.absolute()))


def _command(settings: WorkerSettings, index: int, sock: socket.socket) -> Command:
    arguments = [
        *(sys.executable, "-m", "skerry.main.worker"),
        *("--listen-fd", str(sock.fileno())),
        *("--functions-dir", str(settings.functions_dir.absolute())),
        *("--logs-dir", str(settings.logs_dir.absolute())),
        *_kept_in(settings),
        *("--engine-cache", str(settings.engine_cache.absolute())),
        *("--component", str(settings.component.absolute())),
        *("--threads", str(settings.threads_max)),
        *("--memory-bytes-max", str(settings.memory_bytes_max)),
        *(word for entry in settings.egress_allow for word in ("--egress-allow", entry)),
        *(("--egress-file", str(settings.egress_file.absolute())) if settings.egress_file else ()),
        *(word for port in settings.control_plane_ports for word in ("--closed-port", str(port))),
        *(("--egress-ca-file", str(settings.egress_ca_file.absolute())) if settings.egress_ca_file else ()),
        *("--drain-seconds", str(settings.drain_seconds)),
    ]
    return Command(
        name=f"engine-{index}",
        arguments=arguments,
        pass_fds=(sock.fileno(),),
        drain_seconds=settings.drain_seconds + 1,
        heard=True,
    )


async def _wait_until_ready(paths: tuple[Path, ...], processes: Sequence[Supervised]) -> None:
    try:
        with within(START_SECONDS_MAX):
            for path, process in zip(paths, processes, strict=True):
                await _until_healthy(path, process)
    except TimeoutError as error:
        raise StartError(
            f"the engine workers did not answer within {START_SECONDS_MAX:g} s; their messages say why"
        ) from error


async def _until_healthy(path: Path, process: Supervised) -> None:
    while not process.failing:
        if await _answers(path, _START_LOOK_SECONDS):
            return
        await asyncio.sleep(_HEALTH_RETRY_SECONDS)
    raise StartError(f"an engine worker does not start: {process.failing}")


async def _answers(path: Path, seconds: float = HEALTH_SECONDS_MAX) -> bool:
    try:
        await _health(path, seconds)
    except (OSError, ValueError, TimeoutError):  # it ended before it answered, say: the supervisor starts it again
        return False
    return True


async def _health(path: Path, seconds: float = HEALTH_SECONDS_MAX) -> dict[str, int]:
    numbers = await _ask(path, "health", seconds)
    return {name: value for name, value in numbers.items() if isinstance(value, int)}


async def _ask(path: Path, endpoint: str, seconds: float) -> Any:
    with within(seconds):
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(_REQUEST % endpoint.encode())
            answer = await _read_all(reader)
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"worker {path.name} is not healthy: {head[:100]!r}")
    return orjson.loads(body)


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    """Read to the end of the connection."""
    pieces, length = [], 0
    while piece := await reader.read(_PIECE_BYTES):
        pieces.append(piece)
        length += len(piece)
        if length > _ANSWER_BYTES_MAX:
            raise ValueError(f"the worker's answer is over {_ANSWER_BYTES_MAX} bytes")
    return b"".join(pieces)
