"""The process that forks: it imports what any command needs, and then forks for each request.

It lives as long as its standard input is open, and prints the path of a Unix socket when it is ready. Each request
there has a connection of its own: the three standard files, and a JSON document with arguments, environment, working
directory and namespaces, go one way; the process id and, in the end, the exit code, each of `NUMBER`'s form, the other.
"""

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Processes that are started at the same moment.
BACKLOG = 64

#: Has a process that was forked print where each of its threads is.
STACKS_SIGNAL = signal.SIGUSR1

#: Process ids and exit codes as they are sent, and the length of a request.
NUMBER = struct.Struct("!q")


class Forker:
    """Forks for each request.

    Attributes:
        address: where it listens.
    """

    def __init__(self) -> None:
        self.address = Path(tempfile.mkdtemp(prefix="skerry-forking-")) / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.address))
        self._listener.listen(BACKLOG)
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, socket.socket] = {}

    def serve(self) -> Sequence[str] | None:
        """Fork until standard input ends: None then; what a fork is to run, in a fork."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: it is for who asked
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler, nothing is written to the wake-up file
        signal.set_wakeup_fd(self._wake.fileno())
        for source in (self._listener, self._woken, sys.stdin):
            self._selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    self._end_all()
                    shutil.rmtree(self.address.parent)
                    return None
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._tell_ends()
                elif (arguments := self._fork()) is not None:
                    return arguments

    def _fork(self) -> Sequence[str] | None:
        connection, _ = self._listener.accept()
        length, files, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
        request = json.loads(connection.recv(NUMBER.unpack(length)[0], socket.MSG_WAITALL))
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._leave_all()
            for namespace in request["namespaces"]:
                enter(namespace)  # before the working directory, which a namespace of mounts takes away
            _become(request["environment"], request["folder"], files)
            arguments: Sequence[str] = request["arguments"]
            return arguments
        for file in files:
            os.close(file)
        self._running[pid] = connection
        connection.sendall(NUMBER.pack(pid))
        return None

    def _leave_all(self) -> None:
        """Close what is the business of the process that forks."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for owned in (self._listener, self._woken, self._wake, *self._running.values()):
            owned.close()

    def _tell_ends(self) -> None:
        for pid, connection in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._running[pid]
            with connection, contextlib.suppress(ConnectionError):  # nobody waits for it any more
                connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _end_all(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)


def enter(namespace: str) -> None:
    """Bring this thread into a namespace of another process, such as /proc/1/ns/net; raises OSError."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), f"{namespace} can't be entered")
    finally:
        os.close(descriptor)


def _become(environment: Mapping[str, str], folder: str, files: Sequence[int]) -> None:
    """Take over an environment, a working directory and the standard files."""
    os.environ.clear()  # noqa: TID251 - taken over, not read
    os.environ.update(environment)  # noqa: TID251 - likewise
    os.chdir(folder)
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    faulthandler.register(STACKS_SIGNAL, file=2)


def _prepare() -> None:
    """Import what any command needs, and make what each start would make anew from the code alone."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")  # noqa: TID251 - as `skerry up` does
    import anyio._backends._asyncio  # noqa: F401 - what libraries import when it is first used
    import httpcore  # noqa: F401 - likewise
    import rich.markdown  # noqa: F401 - likewise
    import uvicorn.lifespan.off  # noqa: F401 - likewise

    import skerry.cli.app
    import skerry.main.agent
    import skerry.main.process
    import skerry.main.serve
    import skerry.main.up
    from skerry.api.registry import DEFINED_KINDS, KINDS
    from skerry.api.secret_fields import confidential_resources
    from skerry.server.kube.openapi.inline import structural_schemas

    skerry.cli.app.command()
    structural_schemas(list(DEFINED_KINDS.values()))
    confidential_resources(KINDS)
    for kind in KINDS:
        kind.model.model_rebuild()
    gc.collect()
    gc.freeze()


def _main() -> None:
    _prepare()
    forker = Forker()
    print(forker.address, flush=True)  # noqa: T201 - `testing.forked` waits for it
    arguments = forker.serve()
    if arguments is not None:
        sys.argv[1:] = arguments
        runpy.run_module("skerry", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
