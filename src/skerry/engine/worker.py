"""The engine worker: a process that answers HTTP with functions.

    python -m skerry.main.worker --listen-fd 3 --functions-dir D --logs-dir L --engine-cache C --component FILE

Wires the rooms' parts together: one event loop (`loop`), whose thread changes when a request waits or takes long
(`leadership`), and the functions that answer (`serving`). The listening socket belongs to the supervisor, so
connections wait in its backlog while a worker is being restarted, or has as many as it takes.

On SIGTERM no connection is accepted any more, idle ones are closed, running requests finish, and after
`--drain-seconds` the process ends whatever is left. Imports are few on purpose: a killed worker must be back soon.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.engine.connection import ConnectionLimits
from skerry.engine.egress import EgressPolicy
from skerry.engine.egress_file import EgressPolicies
from skerry.engine.fetching import Fetcher
from skerry.engine.filtering import FilterCodec, FilteredServer
from skerry.engine.host import JavaScriptEngine
from skerry.engine.key_value_file import KeyValueStore
from skerry.engine.key_values import KeyValueError, KeyValues
from skerry.engine.leadership import Leadership
from skerry.engine.log_writer import FunctionLogWriter
from skerry.engine.loop import Loop
from skerry.engine.pool import PoolLimits
from skerry.engine.readiness import Readiness
from skerry.engine.serving import FunctionServer, WorkerParts
from skerry.engine.shared_key_values import SharedKeyValues
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.cycles import look_for_cycles_rarely
from skerry.kit.errors import SkerryError
from skerry.kit.records import Records

if TYPE_CHECKING:
    from skerry.engine.open_calls import OpenCall

records = Records(__name__)

#: Wasm takes 1.5 MiB of it (`compiled.WASM_STACK_BYTES_MAX`), Python the rest; untouched pages cost nothing.
THREAD_STACK_BYTES = 4 * 1024 * 1024
THREADS_MAX_DEFAULT = 256
MEMORY_BYTES_MAX_DEFAULT = 1024 * 1024 * 1024
DRAIN_SECONDS_DEFAULT = 10.0
BACKLOG = 1024
SWEEP_SECONDS = 1.0


def _listener(arguments: argparse.Namespace) -> socket.socket:
    if arguments.listen_fd is not None:
        return socket.socket(fileno=arguments.listen_fd)
    host, _, port = arguments.listen_address.rpartition(":")
    return socket.create_server((host, int(port)), backlog=BACKLOG)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="skerry.main.worker", description=__doc__.partition("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen-fd", type=int, help="a listening socket that this process inherited")
    where.add_argument("--listen-address", help="HOST:PORT to listen on (benchmarks)")
    parser.add_argument("--functions-dir", type=Path, required=True)
    parser.add_argument("--logs-dir", type=Path, required=True)
    kept = parser.add_mutually_exclusive_group(required=True)
    kept.add_argument("--kv-file", type=Path, help="where functions keep keys and values")
    kept.add_argument("--kv-socket", type=Path, help="who keeps those that nodes share (kv_server)")
    parser.add_argument("--engine-cache", type=Path, required=True)
    parser.add_argument("--component", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=THREADS_MAX_DEFAULT)
    parser.add_argument("--memory-bytes-max", type=int, default=MEMORY_BYTES_MAX_DEFAULT)
    parser.add_argument("--egress-allow", action="append", default=[], help="a host, address or CIDR (egress)")
    parser.add_argument("--egress-file", type=Path, help="where the egress policies are (egress_file)")
    parser.add_argument("--closed-port", action="append", type=int, default=[], help="a port of the control plane")
    parser.add_argument("--egress-ca-file", type=Path, help="more certificate authorities to trust, PEM")
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS_DEFAULT)
    return parser.parse_args(words)


def _sweep_forever(server: FunctionServer, fetcher: Fetcher, key_values: KeyValues, stopping: threading.Event) -> None:
    while not stopping.wait(SWEEP_SECONDS):
        server.pool.sweep()
        server.logs.sweep()
        fetcher.sweep()
        try:
            key_values.sweep()
        except KeyValueError as error:
            records.warning("keys and values could not be swept", reason=error.public)


def _key_values(arguments: argparse.Namespace, clock: Clock) -> KeyValues:
    if arguments.kv_socket is not None:
        return SharedKeyValues(arguments.kv_socket, clock)
    return KeyValueStore(arguments.kv_file, clock)


def run(arguments: argparse.Namespace, codec: FilterCodec) -> bool:
    """Serve until SIGTERM or SIGINT; returns whether every request could finish."""
    threading.stack_size(THREAD_STACK_BYTES)
    listener = _listener(arguments)
    clock = SystemClock()
    logs = FunctionLogWriter(arguments.logs_dir, clock)
    key_values = _key_values(arguments, clock)
    leadership = Leadership(threads_max=arguments.threads)
    with JavaScriptEngine(arguments.component, arguments.engine_cache) as engine:
        limits = PoolLimits(memory_bytes_max=arguments.memory_bytes_max, threads_max=arguments.threads)
        node = replace(EgressPolicy.parse(arguments.egress_allow), control_plane_ports=frozenset(arguments.closed_port))
        fetcher = Fetcher(EgressPolicies(node, arguments.egress_file).of, ca_file=arguments.egress_ca_file)
        readiness: Readiness[OpenCall] = Readiness()
        parts = WorkerParts(engine, arguments.engine_cache, logs, fetcher, key_values, leadership, readiness)
        server = FunctionServer(parts, arguments.functions_dir, limits=limits)
        filtered = FilteredServer(server, codec, partial(leadership.hand_over, listens=True))
        loop = Loop(listener, filtered, leadership, readiness, ConnectionLimits())
        stop = threading.Event()
        threading.Thread(target=_sweep_forever, args=(server, fetcher, key_values, stop), daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        look_for_cycles_rarely()
        leadership.start(loop.lead)
        stop.wait()
        loop.stop()
        return loop.wait_until_drained(arguments.drain_seconds)


def _end(failure: threading.ExceptHookArgs) -> None:
    """End the process: without one of its threads it might never answer again, and its supervisor starts another."""
    if failure.exc_value is not None:
        records.defect("a thread of the engine worker met a defect", failure.exc_value)
    os._exit(1)


def main(codec: FilterCodec) -> None:
    """Run a worker from the command line; the codec is for Envoy's messages to filters."""
    threading.excepthook = _end
    try:
        drained = run(_parse(sys.argv[1:]), codec)
    except SkerryError as error:
        records.error("the engine worker can't start", reason=error.public)
        sys.exit(1)
    # Without the interpreter's tear-down: threads may still be inside of functions that ignore the drain.
    os._exit(0 if drained else 1)
