"""The event loop and its leadership over real sockets, with answers that wait for the test instead of for Wasm."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from skerry.engine.connection import Asked, ConnectionLimits
from skerry.engine.errors import FailureKind
from skerry.engine.exchange import Peer
from skerry.engine.http1 import Request, RequestError, error_bytes, response_bytes, response_parts
from skerry.engine.leadership import Leadership
from skerry.engine.loop import Loop
from skerry.engine.readiness import Readiness
from skerry.engine.serving import Answer

SECONDS_MAX = 60
THREADS_MAX = 128
LARGE_BYTES = 8 * 1024 * 1024
LIMITS = ConnectionLimits(exact_seconds=0.01)


class Server:
    """Answers with the target: `/wait…` (it says that it waits) and `/spin` when `released`, `/hold` when `let_go`."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self.released = threading.Event()
        self.let_go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.worked = threading.Event()

    def answer(self, request: Asked, _peer: Peer) -> Answer:
        assert isinstance(request, Request)
        self.begun.release()
        target = request.target
        body = target + request.body
        if target.startswith(b"/wait"):
            self._leadership.hand_over()
            assert self.released.wait(SECONDS_MAX)
        elif target == b"/spin":
            assert self.released.wait(SECONDS_MAX)
        elif target == b"/hold":
            assert self.let_go.wait(SECONDS_MAX)
        elif target == b"/large":
            body = bytes(LARGE_BYTES)
        elif target == b"/defect":
            raise ZeroDivisionError
        return Answer(response_parts(request, 200, b"", body), self._work if target == b"/work" else None)

    def _work(self) -> Answer:
        self.worked.set()
        assert self.released.wait(SECONDS_MAX)
        return Answer(())

    def refuse(self, error: RequestError) -> bytes:
        return error_bytes(None, error.status, error.kind, error.message)

    def streams(self, _revision: str) -> bool:
        return False

    def body_bytes_max(self, _revision: str | None) -> int:
        return 1000


class Running:
    def __init__(self, threads_max: int, limits: ConnectionLimits) -> None:
        self.leadership = Leadership(threads_max=threads_max)
        self.server = Server(self.leadership)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.loop = Loop(self.listener, self.server, self.leadership, Readiness(), limits)
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        sock = socket.create_connection(self.listener.getsockname(), timeout=SECONDS_MAX)
        self.clients.append(sock)
        return sock

    def get(self, target: str) -> bytes:
        """Ask on a connection of its own; return the body."""
        return asked(self.connect(), target)

    def until(self, condition: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Look at the statistics until they fulfil a condition; the test's own time limit bounds it."""
        while not condition(statistics := self.leadership.statistics()):
            pass
        return statistics


def asked(sock: socket.socket, target: str, *, version: str = "1.1") -> bytes:
    sock.sendall(f"GET {target} HTTP/{version}\r\nhost: a\r\n\r\n".encode())
    return read_body(sock)


def read_body(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += received(sock)
    return body


def received(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 20)
    assert data, "the connection ended within an answer"
    return data


@pytest.fixture
def threads_max() -> int:
    return THREADS_MAX


@pytest.fixture
def limits() -> ConnectionLimits:
    return LIMITS


@pytest.fixture
def running(threads_max: int, limits: ConnectionLimits) -> Iterator[Running]:
    running = Running(threads_max, limits)
    running.leadership.start(running.loop.lead)
    try:
        yield running
    finally:
        running.server.released.set()
        running.server.let_go.set()
        running.leadership.stop()
        running.until(lambda statistics: not statistics["threads"])
        running.loop.close()
        running.listener.close()
        for client in running.clients:
            client.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS_MAX) as executor:
        yield executor


def begin(running: Running, threads: ThreadPoolExecutor, target: str, count: int = 1) -> list[Future[bytes]]:
    """Send requests and wait until each is being answered."""
    asked = [threads.submit(running.get, target) for _ in range(count)]
    for _ in range(count):
        assert running.server.begun.acquire(timeout=SECONDS_MAX)
    return asked


def test_others_are_answered_while_one_computes_without_end(running: Running, threads: ThreadPoolExecutor):
    (spinning,) = begin(running, threads, "/spin")
    assert [running.get(f"/{number}") for number in range(20)] == [b"/%d" % number for number in range(20)]
    assert not spinning.done()
    assert running.leadership.statistics()["takeovers_total"] >= 1
    running.server.released.set()
    assert spinning.result() == b"/spin"


def test_a_hundred_requests_wait_at_once_and_hurt_no_other(running: Running, threads: ThreadPoolExecutor):
    waiting = begin(running, threads, "/wait", 100)  # all have begun: none has finished
    assert running.get("/other") == b"/other"
    assert not any(each.done() for each in waiting)
    running.server.released.set()
    assert {each.result() for each in waiting} == {b"/wait"}


def test_after_a_burst_one_thread_leads_and_answers_alone(running: Running, threads: ThreadPoolExecutor):
    waiting = begin(running, threads, "/wait", 20)
    running.server.released.set()
    assert {each.result() for each in waiting} == {b"/wait"}
    before = running.until(lambda statistics: statistics["threads_spare"] == statistics["threads"] - 1)
    assert running.get("/calm") == b"/calm"
    assert running.leadership.statistics()["handovers_total"] == before["handovers_total"]


@pytest.mark.parametrize("threads_max", [2])
def test_with_every_thread_taken_the_next_request_is_answered_by_the_first_to_be_free(
    running: Running, threads: ThreadPoolExecutor
):
    waiting = begin(running, threads, "/wait", 2)
    next_one = threads.submit(running.get, "/next")
    # Not just one: on a busy machine the watchdog may have taken a turn for one that lasts before.
    running.until(lambda statistics: statistics["leaderless_total"] >= 1)
    assert not next_one.done()
    running.server.released.set()
    assert next_one.result() == b"/next"
    assert {each.result() for each in waiting} == {b"/wait"}


def ask_together(running: Running, threads: ThreadPoolExecutor, *targets: str) -> list[socket.socket]:
    """Have requests read at once, on connections of their own, by the one of two threads that is not taken."""
    clients = [running.connect() for _ in targets]
    for client in clients:
        assert asked(client, "/") == b"/"  # it is accepted
        running.server.begun.acquire()
    held = begin(running, threads, "/hold")
    begin(running, threads, "/wait")
    for client, target in zip(clients, targets, strict=True):
        client.sendall(f"GET {target} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    running.server.let_go.set()
    assert held[0].result(SECONDS_MAX) == b"/hold"
    return clients


@pytest.mark.parametrize("threads_max", [2])
@pytest.mark.parametrize("lasts", ["/wait/too", "/spin"])
def test_an_answer_is_not_held_back_by_a_request_that_was_read_with_its_own_and_lasts(
    running: Running, threads: ThreadPoolExecutor, lasts: str
):
    quick, slow = ask_together(running, threads, "/quick", lasts)
    assert read_body(quick) == b"/quick"
    running.server.released.set()
    assert read_body(slow) == lasts.encode()


@pytest.mark.parametrize("threads_max", [2])
@pytest.mark.parametrize("lasts", ["/wait/too", "/spin"])
def test_what_was_read_is_answered_by_the_next_leader(running: Running, threads: ThreadPoolExecutor, lasts: str):
    slow, quick = ask_together(running, threads, lasts, "/quick")
    running.server.begun.acquire()
    running.server.released.set()
    assert read_body(quick) == b"/quick"
    assert read_body(slow) == lasts.encode()


def test_a_connection_whose_turn_outlasted_the_lead_is_answered_again(running: Running, threads: ThreadPoolExecutor):
    sock = running.connect()
    answer = threads.submit(asked, sock, "/wait")
    assert running.server.begun.acquire(timeout=SECONDS_MAX)
    running.server.released.set()
    assert answer.result() == b"/wait"
    assert asked(sock, "/again") == b"/again"


def test_pipelined_requests_are_answered_in_order(running: Running):
    sock = running.connect()
    sock.sendall(b"".join(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number for number in range(50)))
    wanted = b"".join(response_bytes(Request(), 200, b"", b"/%d" % number) for number in range(50))
    got = b""
    while len(got) < len(wanted):
        got += received(sock)
    assert got == wanted


def test_a_peer_that_reads_slowly_holds_no_thread_and_gets_everything(running: Running):
    slow = running.connect()
    slow.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
    assert running.server.begun.acquire(timeout=SECONDS_MAX)
    assert running.get("/other") == b"/other"
    # Not one thread in all: on a busy machine the watchdog takes a turn for one that lasts, and another thread leads.
    running.until(lambda statistics: statistics["threads_spare"] == statistics["threads"] - 1)
    assert read_body(slow) == bytes(LARGE_BYTES)
    assert asked(slow, "/again") == b"/again"


@pytest.mark.parametrize("limits", [LIMITS._replace(send_seconds_max=0)])
def test_a_peer_that_takes_nothing_is_cut_off(running: Running):
    slow = running.connect()
    slow.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
    assert running.server.begun.acquire(timeout=SECONDS_MAX)
    running.loop.stop()
    assert running.loop.wait_until_drained(SECONDS_MAX)


def test_the_body_follows_when_its_sender_was_told_to_go_on(running: Running):
    sock = running.connect()
    sock.sendall(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
    assert received(sock) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"abc")
    assert read_body(sock) == b"/abc"


@pytest.mark.parametrize("limits", [LIMITS._replace(request_seconds_max=0)])
def test_a_request_that_does_not_end_is_408(running: Running):
    sock = running.connect()
    sock.sendall(b"GET / HTTP/1.1\r\nhost:")
    assert sock.makefile("rb").read().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("limits", [LIMITS._replace(idle_seconds_max=0)])
def test_an_idle_connection_ends(running: Running):
    assert running.connect().recv(1) == b""


def test_what_is_no_request_is_refused_and_the_refusal_is_read(running: Running):
    sock = running.connect()
    sock.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + bytes(100_000))
    answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert FailureKind.BODY_TOO_LARGE.encode() in answer


def test_a_client_of_http_1_0_sees_the_end_of_its_connection(running: Running):
    sock = running.connect()
    assert asked(sock, "/old", version="1.0") == b"/old"
    assert sock.recv(1) == b""


def test_a_defect_ends_its_connection_alone(running: Running, capsys: pytest.CaptureFixture[str]):
    sock = running.connect()
    sock.sendall(b"GET /defect HTTP/1.1\r\nhost: a\r\n\r\n")
    assert sock.recv(1) == b""
    assert running.get("/other") == b"/other"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_peer_that_leaves_before_its_answer_leaves_nothing_behind(running: Running):
    sock = running.connect()
    sock.sendall(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
    assert running.server.begun.acquire(timeout=SECONDS_MAX)
    sock.close()
    running.server.released.set()
    running.loop.stop()
    assert running.loop.wait_until_drained(SECONDS_MAX)


def test_a_connection_is_free_while_what_its_answer_left_goes_on(running: Running):
    sock = running.connect()
    assert asked(sock, "/work") == b"/work"
    assert running.server.worked.wait(SECONDS_MAX)
    assert asked(sock, "/next") == b"/next"
    assert not running.loop.wait_until_drained(0)


@pytest.mark.parametrize("limits", [LIMITS._replace(idle_seconds_max=0.05)])
def test_an_idle_connection_ends_while_another_has_requests_all_the_time(running: Running, threads: ThreadPoolExecutor):
    idle, busy = running.connect(), running.connect()

    def ask_on() -> None:
        with suppress(OSError):  # ended, in the end
            while True:
                busy.sendall(b"GET /on HTTP/1.1\r\nhost: a\r\n\r\n" * 1_000)

    def take_on() -> None:
        with suppress(OSError):
            while busy.recv(1 << 20):
                pass

    both = [threads.submit(ask_on), threads.submit(take_on)]
    assert idle.recv(1) == b""
    with suppress(OSError):  # that one has ended as well, where its client stood still
        busy.shutdown(socket.SHUT_RDWR)
    for each in both:
        each.result(SECONDS_MAX)


@pytest.mark.parametrize("limits", [LIMITS._replace(connections_max=1)])
def test_a_full_worker_gives_each_connection_a_turn(running: Running):
    first, second = running.connect(), running.connect()
    assert asked(first, "/1") == b"/1"
    assert first.recv(1) == b""  # told to close, so that the second gets in
    assert asked(second, "/2") == b"/2"


def test_a_stop_ends_idle_connections_and_lets_running_requests_finish(running: Running, threads: ThreadPoolExecutor):
    idle = running.connect()
    assert asked(idle, "/idle") == b"/idle"
    assert running.server.begun.acquire(timeout=SECONDS_MAX)
    (waiting,) = begin(running, threads, "/wait")
    running.loop.stop()
    assert idle.recv(1) == b""
    assert not running.loop.wait_until_drained(0)
    running.server.released.set()
    assert waiting.result() == b"/wait"
    assert running.loop.wait_until_drained(SECONDS_MAX)
