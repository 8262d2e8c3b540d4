"""The xDS server: keeps an Envoy at the latest snapshot, over one delta ADS stream on a Unix socket.

Owns the transport and the waiting. Does not own the bookkeeping of a stream (`xds_stream.py`) or what a snapshot holds.

Invariants: Envoy is sent only what changed; what it refuses stays at its last good version and hurts nothing else; an
Envoy that reconnects is brought to the latest snapshot, whatever it had. Memory is bounded by the snapshot's size:
there is no queue, each push is computed from the difference between the snapshot and the stream.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy.service.discovery.v3.ads_pb2_grpc import (
    AggregatedDiscoveryServiceServicer,
    add_AggregatedDiscoveryServiceServicer_to_server,
)
from prometheus_client import Counter

from skerry.gateway.errors import NotApplied
from skerry.gateway.snapshot import EMPTY, Snapshot
from skerry.gateway.xds_stream import Rejection, Stream, told
from skerry.kit.deadlines import within
from skerry.kit.ending import to_its_end
from skerry.kit.errors import StartError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup

log = get_logger(__name__)
PUSHES = Counter("skerry_xds_pushes_total", "Responses sent to Envoy.", ["type"])
REJECTIONS = Counter("skerry_xds_rejections_total", "Resources that Envoy refused.", ["type"])

#: Envoy opens one stream; a second may exist while it reconnects.
STREAMS_MAX = 4
#: A request lists what a reconnecting Envoy holds: some hundred bytes a resource.
REQUEST_BYTES_MAX = 16 * 1024 * 1024
#: How soon a refused listener is offered again, unchanged: its port may have become free.
REFUSED_RETRY_SECONDS = 10.0
#: The longest path of a Unix socket (sun_path of unix(7), less its final zero).
SOCKET_PATH_BYTES_MAX = 107
#: How long Envoy's stream may go on when the server is asked to stop, and how long it may take to notice that it can't.
GRACE_SECONDS, STOP_SECONDS_MAX = 1.0, 10.0


class XdsServer:
    """The server, as `serve_xds` yields it. Its methods belong to the event loop that serves.

    Args:
        on_refusals: called whenever Envoy refuses something else than before, or nothing any more.
    """

    def __init__(self, on_refusals: Callable[[], None]) -> None:
        self._on_refusals = on_refusals
        self._snapshot = EMPTY
        self._generation = 0
        self._applied_generation = 0
        self._stream: Stream | None = None
        self._wakeups: set[Wakeup] = set()
        self._progress = asyncio.Condition()

    def set_snapshot(self, snapshot: Snapshot) -> int:
        """Make a snapshot the latest; returns its generation, for `wait_until_applied`."""
        if snapshot != self._snapshot or not self._generation:
            self._generation += 1
            self._snapshot = snapshot
            for wakeup in self._wakeups:
                wakeup.set()
        return self._generation

    async def wait_until_applied(self, generation: int, *, timeout_seconds: float) -> tuple[Rejection, ...]:
        """Wait until Envoy has answered for a generation, or for a later one.

        Returns:
            What Envoy refuses at that moment; empty where all is in force.

        Raises:
            NotApplied: Envoy is away, or has not answered in time.
        """
        try:
            with within(timeout_seconds):
                async with self._progress:
                    await self._progress.wait_for(lambda: self._applied_generation >= generation)
        except TimeoutError as error:
            state = "is connected" if self._stream else "is not connected"
            raise NotApplied(
                f"Envoy has not applied its configuration within {timeout_seconds:g} s",
                detail=f"Envoy {state}; {self.statistics()}",
            ) from error
        return self.rejections()

    def rejections(self) -> tuple[Rejection, ...]:
        """What Envoy refuses now; for each, its last good version is in force."""
        return self._stream.rejections() if self._stream else ()

    def statistics(self) -> dict[str, int]:
        """Return generations and the state of the stream."""
        base = {"generation": self._generation, "applied": self._applied_generation, "streams": len(self._wakeups)}
        return base | (self._stream.statistics() if self._stream else {})

    async def serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Serve one stream until Envoy closes it; the latest stream is the one that counts."""
        stream, wakeup = Stream(), Wakeup()
        self._stream = stream
        self._wakeups.add(wakeup)
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(stream, wakeup, context), name="xds-writer")
                async for request in requests:
                    before = stream.rejections()
                    stream.receive(request)
                    self._note_rejections(request, before, stream.rejections())
                    await self._note_progress(stream)
                    wakeup.set()
                writer.cancel()
        finally:
            self._wakeups.discard(wakeup)
            if self._stream is stream:
                self._stream = None

    async def _write(self, stream: Stream, wakeup: Wakeup, context: Any) -> None:
        clock = asyncio.get_running_loop().time
        retry_at: float | None = None
        while True:
            await self._push(stream, context)
            if not stream.rejections():
                retry_at = None
            elif retry_at is None:
                retry_at = clock() + REFUSED_RETRY_SECONDS
            elif clock() >= retry_at:  # however often there was something else to send
                retry_at = None
                stream.retry()
                continue
            await wakeup.wait(None if retry_at is None else max(0.0, retry_at - clock()))

    async def _push(self, stream: Stream, context: Any) -> None:
        while self._generation:  # before the first snapshot there is nothing to say, not even that there is nothing
            snapshot = self._snapshot
            for response in stream.due(snapshot):
                PUSHES.labels(response.type_url.rpartition(".")[2]).inc()
                await context.write(response)
                if snapshot is not self._snapshot:
                    break
            else:
                await self._note_progress(stream)
                return

    def _note_rejections(self, request: Any, before: Sequence[Rejection], after: Sequence[Rejection]) -> None:
        if request.HasField("error_detail"):
            REJECTIONS.labels(request.type_url.rpartition(".")[2]).inc()
        if after != before:
            self._on_refusals()
        if len(after) > len(before):
            log.warning("envoy refused a resource", type=request.type_url, error=told(request.error_detail.message))

    async def _note_progress(self, stream: Stream) -> None:
        if stream is self._stream and self._applied_generation < self._generation and stream.is_settled(self._snapshot):
            self._applied_generation = self._generation
            async with self._progress:
                self._progress.notify_all()


class _Service(AggregatedDiscoveryServiceServicer):  # type: ignore[misc]  # grpc has no types
    """The gRPC face of the server."""

    def __init__(self, server: XdsServer) -> None:
        self._server = server

    async def DeltaAggregatedResources(self, request_iterator: AsyncIterator[Any], context: Any) -> None:  # noqa: N802 - the service's own name
        await self._server.serve(request_iterator, context)


@asynccontextmanager
async def serve_xds(socket_path: str, *, on_refusals: Callable[[], None] = lambda: None) -> AsyncIterator[XdsServer]:
    """Serve xDS on a Unix socket for the length of the block.

    Args:
        socket_path: where Envoy connects.
        on_refusals: see `XdsServer`.

    Raises:
        StartError: the socket can't be bound.
    """
    check_socket_path(socket_path)
    xds = XdsServer(on_refusals)
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", REQUEST_BYTES_MAX)], maximum_concurrent_rpcs=STREAMS_MAX
    )
    add_AggregatedDiscoveryServiceServicer_to_server(_Service(xds), server)
    try:
        server.add_insecure_port(f"unix:{socket_path}")
        await server.start()
    except (RuntimeError, OSError) as error:
        raise StartError(f"the xDS server can't listen on {socket_path}", detail=str(error)) from error
    try:
        yield xds
    finally:
        # In a task of its own: who cancels it within `stop` has the server half stopped.
        stop = server.stop(grace=GRACE_SECONDS)
        await to_its_end("xds-stop", stop, seconds_max=GRACE_SECONDS + STOP_SECONDS_MAX)


def check_socket_path(path: str) -> None:
    """Refuse a path that is too long for a Unix socket; raises StartError."""
    if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
        raise StartError(
            f"the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes: {path}; use a shorter data directory"
        )
