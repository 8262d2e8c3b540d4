"""The worker of functions that are called with messages: its socket, its process, and what it knows.

The process is started when it is needed first, and kept running from then on. Owns the listening socket: connections
wait in its backlog while the process starts, so nobody has to ask whether it has. What the worker knows of a function
is its manifest, as with any worker.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry.engine.component import check_component
from skerry.engine.manifest import (
    FunctionManifest,
    is_name,
    list_manifests,
    manifest_path,
    remove_manifest,
    write_manifest,
)
from skerry.engine.messages.frames import MESSAGE_BYTES_MAX
from skerry.engine.workers import listen
from skerry.kit.processes import Command, Supervised, supervise
from skerry.kit.tasks import background

#: How long one call may take where its caller does not end it sooner: the longest timeout that a function may have.
CALL_SECONDS_MAX = 3600.0
SOCKET_NAME = "messages.sock"


@dataclass(frozen=True, slots=True)
class MessageWorkerSettings:
    """What the worker needs.

    Attributes:
        run_dir: where its socket is made.
        functions_dir: where manifests are.
        engine_cache: where compiled code is kept; readable and writable for this user only.
        component: the JavaScript engine component.
        memory_bytes_max: what all instances may take together.
        egress_allow: what functions may reach besides public addresses.
        control_plane_ports: ports of this machine that functions reach only where a rule names them.
        egress_ca_file: more certificate authorities that they trust, PEM.
    """

    run_dir: Path
    functions_dir: Path
    engine_cache: Path
    component: Path
    memory_bytes_max: int
    egress_allow: tuple[str, ...] = ()
    control_plane_ports: tuple[int, ...] = ()
    egress_ca_file: Path | None = None


class MessageWorker:
    """The worker, as `run_message_worker` yields it; `functions.local.engine.Engine`."""

    def __init__(self, settings: MessageWorkerSettings) -> None:
        self._settings = settings
        self._wanted = asyncio.Event()
        self._process: Supervised | None = None

    def register(self, name: str, binary: Path) -> None:
        """Make a function known by a name; once more is no error.

        Raises:
            ValueError: the name is no lower-case DNS subdomain.
        """
        if is_name(name) and manifest_path(self._settings.functions_dir, name).exists():
            return
        manifest = FunctionManifest(
            revision=name,
            function=name,
            artifact=binary,
            timeout_seconds=CALL_SECONDS_MAX,
            cpu_seconds_max=CALL_SECONDS_MAX,
            response_body_bytes_max=MESSAGE_BYTES_MAX,
            has_kv=False,
        )
        write_manifest(self._settings.functions_dir, manifest)

    def forget(self, name: str) -> None:
        """End a function; one that is not known is no error."""
        if is_name(name):
            remove_manifest(self._settings.functions_dir, name)

    async def connect(self, protocol: Callable[[], asyncio.Protocol], begin: bytes, queue: int) -> None:
        """Open a connection for a protocol, on which messages are answered (`serving`).

        Args:
            protocol: makes it.
            begin: sent first.
            queue: descriptor of the socket of messages, which goes along with it.

        Raises:
            OSError: it can't be opened, or the worker ends as it starts.
        """
        self._wanted.set()
        if self._process is not None and (failing := self._process.failing):
            raise ConnectionError(failing)
        path = str(self._settings.run_dir / SOCKET_NAME)
        transport, _ = await asyncio.get_running_loop().create_unix_connection(protocol, path)
        try:
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
                socket.send_fds(connection, [begin], [queue])
        except OSError:
            transport.close()
            raise

    async def run(self, sock: socket.socket) -> None:
        """Keep the process running from when it is needed first."""
        await self._wanted.wait()
        async with supervise(_command(self._settings, sock)) as self._process:
            await asyncio.Event().wait()


@asynccontextmanager
async def run_message_worker(settings: MessageWorkerSettings) -> AsyncIterator[MessageWorker]:
    """Have the worker at hand for the length of the block.

    Raises:
        StartError: its socket cannot be made, or the component is missing or another code's.
    """
    check_component(settings.component)
    for name in list_manifests(settings.functions_dir):  # of an earlier life; what is needed is registered again
        remove_manifest(settings.functions_dir, name)
    worker = MessageWorker(settings)
    sock = listen(settings.run_dir / SOCKET_NAME)
    try:
        async with background(("message-worker", lambda: worker.run(sock))):
            yield worker
    finally:
        sock.close()
        (settings.run_dir / SOCKET_NAME).unlink(missing_ok=True)


def _command(settings: MessageWorkerSettings, sock: socket.socket) -> Command:
    arguments = [
        *(sys.executable, "-m", "skerry.engine.messages.worker"),
        *("--listen-fd", str(sock.fileno())),
        *("--functions-dir", str(settings.functions_dir.absolute())),
        *("--engine-cache", str(settings.engine_cache.absolute())),
        *("--component", str(settings.component.absolute())),
        *("--memory-bytes-max", str(settings.memory_bytes_max)),
        *(word for entry in settings.egress_allow for word in ("--egress-allow", entry)),
        *(word for port in settings.control_plane_ports for word in ("--closed-port", str(port))),
        *(("--egress-ca-file", str(settings.egress_ca_file.absolute())) if settings.egress_ca_file else ()),
    ]
    return Command(name="messages", arguments=arguments, pass_fds=(sock.fileno(),), heard=True)
