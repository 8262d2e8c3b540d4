"""Subrequests without a guest, and upstreams that say exactly what a test wants, over real sockets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from skerry.engine.egress import EgressPolicy
from skerry.engine.fetching import Event, EventKind, Fetcher
from skerry.engine.thread_fetching import ThreadSubrequests

SECONDS_MAX = 60.0


@dataclass
class Upstream:
    """Listens on loopback; each connection is given to `serve`, on a thread of its own.

    Attributes:
        connections: how many there were.
    """

    serve: Callable[[socket.socket], None]
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=128))
    connections: int = 0
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(SECONDS_MAX)
            try:
                self.serve(sock)
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def read_request(sock: socket.socket) -> bytes:
    """Return one request with its body; empty where the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def saying(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer each request of a connection with the next of these, then end it."""

    def serve(sock: socket.socket) -> None:
        for answer in answers:
            if not read_request(sock):
                return
            sock.sendall(answer)

    return serve


@dataclass
class Fetched:
    """What a subrequest came to."""

    kinds: list[EventKind]
    head: list[str]
    body: bytes
    problem: str

    @property
    def status(self) -> int:
        return int(self.head[0]) if self.head else 0

    def header(self, name: str) -> str | None:
        fields = self.head[2:]
        return next((v for n, v in zip(fields[::2], fields[1::2], strict=True) if n == name), None)


class Function:
    """What a function would do, from outside."""

    def __init__(self, fetcher: Fetcher, name: str = "f") -> None:
        self.subrequests = ThreadSubrequests(fetcher.of(name))

    def start(self, url: str, body: bytes = b"", method: str = "", *headers: str) -> int:
        lines = [method or ("POST" if body else "GET"), url, *headers]
        return self.subrequests.start("\n".join(lines).encode(), body)

    def next_event(self) -> Event:
        assert self.subrequests.wait(SECONDS_MAX, lambda: None), "nothing happened"
        event = self.subrequests.take()
        assert event is not None
        return event

    def finish(self, number: int) -> Fetched:
        """Read a subrequest to its end; others may not be running."""
        done = Fetched([], [], b"", "")
        while True:
            event = self.next_event()
            assert event.id == number
            done.kinds.append(event.kind)
            done.body += event.data
            if event.kind in {EventKind.HEAD, EventKind.WHOLE}:
                done.head = event.text.decode().split("\n")
            if event.kind is EventKind.FAILED:
                done.problem = event.text.decode()
            if event.kind in {EventKind.WHOLE, EventKind.END, EventKind.FAILED}:
                return done
            self.subrequests.read(number)

    def fetch(self, url: str, body: bytes = b"", method: str = "", *headers: str) -> Fetched:
        return self.finish(self.start(url, body, method, *headers))


class Lab:
    def __init__(self, resources: ExitStack) -> None:
        self._resources = resources

    def upstream(self, serve: Callable[[socket.socket], None]) -> Upstream:
        upstream = Upstream(serve)
        threading.Thread(target=upstream.run, daemon=True).start()
        self._resources.callback(upstream.close)
        return upstream

    def fetcher(self, *reachable: str, policy: EgressPolicy | None = None, **options: Any) -> Fetcher:
        policy = policy or EgressPolicy.parse(reachable or ["127.0.0.1"])
        fetcher = Fetcher(lambda _: policy, **options)
        self._resources.callback(fetcher.close)
        return fetcher

    def function(self, *reachable: str, **options: Any) -> Function:
        function = Function(self.fetcher(*reachable, **options))
        self._resources.callback(function.subrequests.end)
        return function


@pytest.fixture
def lab() -> Iterator[Lab]:
    with ExitStack() as resources:
        yield Lab(resources)
