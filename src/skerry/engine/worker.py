"""The engine worker: a process that answers HTTP with functions.

    python -m skerry.engine.worker --listen-fd 3 --functions-dir D --logs-dir L --engine-cache C --component FILE

One thread for each connection, blocking: the thread that read the request calls the instance and writes the
answer, with no hand-over between threads, and the call releases Python's lock. A connection's thread is bounded in
number; further connections wait in the listening socket's backlog, where they also wait while a worker is being
restarted, because the socket belongs to the supervisor.

On SIGTERM no connection is accepted any more, idle ones are closed, running requests finish, and after
`--drain-seconds` the process ends whatever is left. Imports are few on purpose: a killed worker must be back soon.
"""

import argparse
import contextlib
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from skerry.engine.host import JavaScriptEngine
from skerry.engine.http1 import READ_BYTES, Connection, RequestError, error_bytes
from skerry.engine.log_writer import FunctionLogWriter
from skerry.engine.pool import PoolLimits
from skerry.engine.serving import FunctionServer
from skerry.kit.clock import SystemClock
from skerry.kit.errors import SkerryError

#: Wasm takes 1.5 MiB of it (`compiled.WASM_STACK_BYTES_MAX`), Python the rest; untouched pages cost nothing.
THREAD_STACK_BYTES = 4 * 1024 * 1024
THREADS_MAX_DEFAULT = 256
#: Envoy keeps an idle connection for an hour by default: we close first, after this time.
IDLE_SECONDS_MAX = 120.0
#: A peer that takes no bytes for so long is gone.
SEND_SECONDS_MAX = 30.0
REQUEST_BODY_BYTES_MAX_DEFAULT = 10 * 1024 * 1024
DRAIN_SECONDS_DEFAULT = 10.0
BACKLOG = 1024
ACCEPT_RETRY_SECONDS = 0.1
#: After a refused request: how long, and how often, its remaining bytes are read before the connection ends.
LINGER_SECONDS_MAX = 1.0
LINGER_READS_MAX = 1000
SWEEP_SECONDS = 1.0


class Worker:
    """Accepts connections until it is told to stop."""

    def __init__(self, server: FunctionServer, *, threads_max: int, request_body_bytes_max: int) -> None:
        self._server = server
        self._request_body_bytes_max = request_body_bytes_max
        self._threads_max = threads_max
        self._connections = 0
        self._ended = threading.Condition()
        self._idle: set[socket.socket] = set()  # between two requests: may be ended at any time
        self.stopping = threading.Event()

    def accept_forever(self, listener: socket.socket) -> None:
        """Serve connections, as many at once as there may be threads."""
        while not self.stopping.is_set():
            with self._ended:
                self._ended.wait_for(lambda: self._connections < self._threads_max)
            try:
                sock, _ = listener.accept()
            except OSError as error:  # out of descriptors, or the peer has gone: both pass
                sys.stderr.write(f"skerry engine worker: accept failed: {error}\n")
                time.sleep(ACCEPT_RETRY_SECONDS)
                continue
            with self._ended:
                self._connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                _set_timeouts(sock)
                self._answer_requests(sock)
        except OSError:
            pass  # the peer went away: nobody is left to be told
        finally:
            self._idle.discard(sock)
            with self._ended:
                self._connections -= 1
                self._ended.notify_all()

    def _answer_requests(self, sock: socket.socket) -> None:
        connection = Connection(sock, body_bytes_max=self._request_body_bytes_max)
        idle, stopping = self._idle, self.stopping
        while True:
            idle.add(sock)  # atomic, as is `discard`: no lock for what `stop` reads once
            if stopping.is_set():
                return
            try:
                request = connection.next_request()
            except RequestError as error:
                self._refuse(sock, error)
                return
            idle.discard(sock)
            if request is None:
                return
            if stopping.is_set() or self._is_crowded():
                request.keep_alive = False  # said in the response: the peer opens a new connection
            self._server.answer(request, sock)
            if not request.keep_alive:
                return

    def _refuse(self, sock: socket.socket, error: RequestError) -> None:
        self._server.measures.failed(error.kind)
        sock.sendall(error_bytes(None, error.status, error.kind, error.message))
        # Closing with unread bytes would reset the connection, and the peer might never see the answer.
        sock.shutdown(socket.SHUT_WR)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(LINGER_SECONDS_MAX))
        for _ in range(LINGER_READS_MAX):
            if not sock.recv(READ_BYTES):
                return

    def _is_crowded(self) -> bool:
        """Tell whether every thread is taken: then connections end after a response, so that others get a turn."""
        return self._connections >= self._threads_max

    def stop(self) -> None:
        """Accept nothing more and end idle connections; running requests finish."""
        self.stopping.set()
        for sock in list(self._idle):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RD)

    def wait_until_drained(self, seconds: float) -> bool:
        """Wait for the end of every connection; False where the time ran out."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._connections, seconds)


def _set_timeouts(sock: socket.socket) -> None:
    # Not `settimeout`: that costs a poll(2) before each call.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(IDLE_SECONDS_MAX))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(SEND_SECONDS_MAX))
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


def _listener(arguments: argparse.Namespace) -> socket.socket:
    if arguments.listen_fd is not None:
        return socket.socket(fileno=arguments.listen_fd)
    host, _, port = arguments.listen_address.rpartition(":")
    return socket.create_server((host, int(port)), backlog=BACKLOG)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="skerry.engine.worker", description=__doc__.partition("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen-fd", type=int, help="a listening socket that this process inherited")
    where.add_argument("--listen-address", help="HOST:PORT to listen on (benchmarks)")
    parser.add_argument("--functions-dir", type=Path, required=True)
    parser.add_argument("--logs-dir", type=Path, required=True)
    parser.add_argument("--engine-cache", type=Path, required=True)
    parser.add_argument("--component", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=THREADS_MAX_DEFAULT)
    parser.add_argument("--request-body-bytes-max", type=int, default=REQUEST_BODY_BYTES_MAX_DEFAULT)
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS_DEFAULT)
    return parser.parse_args(words)


def _sweep_forever(server: FunctionServer, stopping: threading.Event) -> None:
    while not stopping.wait(SWEEP_SECONDS):
        server.pool.sweep()


def run(arguments: argparse.Namespace) -> bool:
    """Serve until SIGTERM or SIGINT; returns whether every request could finish."""
    threading.stack_size(THREAD_STACK_BYTES)
    listener = _listener(arguments)
    logs = FunctionLogWriter(arguments.logs_dir, SystemClock())
    with JavaScriptEngine(arguments.component, arguments.engine_cache) as engine:
        server = FunctionServer(engine, arguments.functions_dir, logs, limits=PoolLimits())
        worker = Worker(server, threads_max=arguments.threads, request_body_bytes_max=arguments.request_body_bytes_max)
        threading.Thread(target=_sweep_forever, args=(server, worker.stopping), daemon=True).start()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        threading.Thread(target=worker.accept_forever, args=(listener,), name="accept", daemon=True).start()
        stop.wait()
        worker.stop()
        return worker.wait_until_drained(arguments.drain_seconds)


def main() -> None:
    """Run a worker from the command line."""
    try:
        drained = run(_parse(sys.argv[1:]))
    except SkerryError as error:
        sys.stderr.write(f"skerry engine worker: {error.public}\n")
        sys.exit(1)
    # Without the interpreter's tear-down: threads may still be inside of functions that ignore the drain.
    os._exit(0 if drained else 1)


if __name__ == "__main__":
    main()
