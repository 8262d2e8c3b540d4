"""The process in which functions answer messages.

    python -m skerry.engine.messages.worker --listen-fd 3 --functions-dir D --engine-cache C --component FILE

Wires the parts together. The listening socket belongs to the supervisor (`process`), so connections wait in its backlog
while the process starts. It ends at SIGTERM with whatever runs: who waits for an answer is told that there is none.
"""

import argparse
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

from skerry.engine.egress import EgressPolicy
from skerry.engine.fetching import Fetcher
from skerry.engine.host import JavaScriptEngine
from skerry.engine.leadership import Leadership
from skerry.engine.messages.serving import MessageServer, RunLog
from skerry.engine.pool import PoolLimits
from skerry.engine.serving import FunctionServer, WorkerParts
from skerry.kit.errors import SkerryError
from skerry.kit.records import Records

records = Records(__name__)

#: Wasm takes 1.5 MiB of it (`compiled.WASM_STACK_BYTES_MAX`), Python the rest; untouched pages cost nothing.
THREAD_STACK_BYTES = 4 * 1024 * 1024
#: Connections at once; those of functions that nothing runs of are closed by the other side.
THREADS_MAX = 1024
SWEEP_SECONDS = 1.0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="skerry.engine.messages.worker", description=__doc__.partition("\n")[0])
    parser.add_argument("--listen-fd", type=int, required=True, help="a listening socket that this process inherited")
    parser.add_argument("--functions-dir", type=Path, required=True)
    parser.add_argument("--engine-cache", type=Path, required=True)
    parser.add_argument("--component", type=Path, required=True)
    parser.add_argument("--memory-bytes-max", type=int, required=True)
    parser.add_argument("--egress-allow", action="append", default=[], help="a host, address or CIDR (egress)")
    parser.add_argument("--closed-port", action="append", type=int, default=[], help="a port of the control plane")
    parser.add_argument("--egress-ca-file", type=Path, help="more certificate authorities to trust, PEM")
    return parser.parse_args(words)


def _sweep_forever(server: FunctionServer, fetcher: Fetcher) -> None:
    stopping = threading.Event()
    while not stopping.wait(SWEEP_SECONDS):
        server.pool.sweep()
        fetcher.sweep()


def run(arguments: argparse.Namespace) -> None:
    """Answer connections until the process ends."""
    threading.stack_size(THREAD_STACK_BYTES)
    listener = socket.socket(fileno=arguments.listen_fd)
    log = RunLog()
    node = replace(EgressPolicy.parse(arguments.egress_allow), control_plane_ports=frozenset(arguments.closed_port))
    with JavaScriptEngine(arguments.component, arguments.engine_cache) as engine:
        fetcher = Fetcher(lambda _function: node, ca_file=arguments.egress_ca_file)
        # Nobody leads: there is no event loop whose lead could be handed over.
        parts = WorkerParts(engine, arguments.engine_cache, log, fetcher, None, Leadership(threads_max=1))
        limits = PoolLimits(memory_bytes_max=arguments.memory_bytes_max, threads_max=2 * THREADS_MAX)
        functions = FunctionServer(parts, arguments.functions_dir, limits=limits)
        threading.Thread(target=_sweep_forever, args=(functions, fetcher), daemon=True).start()
        server = MessageServer(functions, log, threads_max=THREADS_MAX)
        while True:
            connection, _ = listener.accept()
            server.take(connection)


def main() -> None:
    """Run a worker from the command line."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        run(_parse(sys.argv[1:]))
    except SkerryError as error:
        records.error("the message worker can't start", reason=error.public)
        sys.exit(1)


if __name__ == "__main__":
    main()
