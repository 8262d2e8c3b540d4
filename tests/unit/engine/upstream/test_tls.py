"""HTTPS with certificates of an authority of our own, and HTTP/2 as Node speaks it."""

import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skerry.engine.fetching import EventKind
from skerry.engine.upstream.limits import FetchLimits
from skerry.kit.clock import SystemClock
from skerry.server.tls import ServerIdentity, open_authority
from tests.unit.engine.upstream.conftest import Function

if TYPE_CHECKING:
    from tests.unit.engine.upstream.conftest import Lab

LOOPBACK = ipaddress.ip_address("127.0.0.1")
SERVER = r"""
const { createSecureServer } = require("node:http2");
const { readFileSync } = require("node:fs");
const pem = readFileSync(process.argv[1]);
let sessions = 0;
function answer(request, response) {
  const path = request.url;
  if (path === "/echo") {
    response.writeHead(200, { "x-version": request.httpVersion, "x-sessions": String(sessions),
                              "x-headers": JSON.stringify(request.headers) });
    request.pipe(response);
  } else if (path === "/large") {
    response.end(Buffer.alloc(3_000_000, "x"));
  } else if (path === "/none") {
    response.writeHead(204).end();
  } else if (path === "/reset") {
    response.stream.close(2);
  } else if (path === "/hang") {
    response.writeHead(200); response.write("begun");
  } else if (path === "/goaway") {
    response.end("bye"); response.stream.session.close();
  } else if (path === "/destroy") {
    response.stream.session.destroy();
  } else response.end("ok");
}
const options = { key: pem, cert: pem, settings: { maxConcurrentStreams: 10 } };
const http2 = createSecureServer(options, answer).on("session", () => { sessions++; });
const http1 = require("node:https").createServer(options, answer);
http2.listen(0, "127.0.0.1", () => http1.listen(0, "127.0.0.1", () => {
  console.log(`${http2.address().port}\n${http1.address().port}`);
}));
"""


class Secure:
    """A Node that serves HTTPS: HTTP/2 on one port, HTTP/1.1 on the other."""

    def __init__(self, ports: tuple[str, str], authority: Path) -> None:
        self.http2 = f"https://localhost:{ports[0]}"
        self.http1 = f"https://localhost:{ports[1]}"
        self.authority = authority


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    directory = tmp_path_factory.mktemp("tls")
    authority = open_authority(directory, SystemClock())
    ServerIdentity(directory, authority, ["localhost"], SystemClock())
    (directory / "authority.pem").write_bytes(authority.pem)
    node = shutil.which("node")
    assert node, "these tests need Node on PATH: run `make setup`"
    arguments = [node, "-e", SERVER, str(directory / "server.pem")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ports = (process.stdout.readline().strip(), process.stdout.readline().strip())
        yield Secure(ports, directory / "authority.pem")
        process.terminate()


@pytest.fixture
def function(lab: "Lab", secure: Secure) -> Function:
    return lab.function("127.0.0.1", ca_file=secure.authority)


def test_https_works_with_an_authority_that_is_added_and_not_without(lab: "Lab", secure: Secure, function: Function):
    done = function.fetch(f"{secure.http1}/echo", b"hello")
    assert (done.body, done.header("x-version")) == (b"hello", "1.1")
    assert "CERTIFICATE_VERIFY_FAILED" in lab.function().fetch(f"{secure.http1}/echo").problem


def test_a_certificate_is_good_for_its_names_only(lab: "Lab", secure: Secure):
    function = lab.function("127.0.0.1", ca_file=secure.authority, look_up=lambda _: [LOOPBACK])
    port = secure.http1.rpartition(":")[2]
    assert "Hostname mismatch" in function.fetch(f"https://other.test:{port}/").problem


def test_http2_is_used_where_it_is_offered(secure: Secure, function: Function):
    body = os.urandom(1_000_000)
    done = function.fetch(f"{secure.http2}/echo", body, "POST", "x-a", "é", "cookie", "a=b")
    assert (done.status, done.header("x-version")) == (200, "2.0")
    assert done.body == body
    seen = json.loads(done.header("x-headers") or "")
    assert (seen[":method"], seen[":path"], seen["content-length"], seen["cookie"]) == (
        "POST",
        "/echo",
        "1000000",
        "a=b",
    )


def test_many_requests_share_one_session(secure: Secure, function: Function):
    first = function.fetch(f"{secure.http2}/echo")
    numbers = {function.start(f"{secure.http2}/echo", b"x" * 1000) for _ in range(40)}  # of 10 that the peer takes
    sessions = []
    while numbers:
        event = function.next_event()
        assert event.kind is not EventKind.FAILED, event.text
        if event.kind is EventKind.HEAD:
            head = event.text.decode().split("\n")
            sessions.append(head[head.index("x-sessions") + 1])
        if event.kind in {EventKind.WHOLE, EventKind.END}:
            numbers.remove(event.id)
        else:
            function.subrequests.read(event.id)
    assert set(sessions) <= {first.header("x-sessions")}


def test_a_large_body_is_whole_and_waits_for_the_reader(secure: Secure, function: Function):
    assert function.fetch(f"{secure.http2}/large").body == b"x" * 3_000_000


def test_a_response_without_a_body_ends_with_its_head(secure: Secure, function: Function):
    assert function.fetch(f"{secure.http2}/none").status == 204
    assert function.fetch(f"{secure.http2}/echo", b"", "HEAD").body == b""


def test_a_reset_stream_is_an_error_and_the_session_goes_on(secure: Secure, function: Function):
    sessions = function.fetch(f"{secure.http2}/echo").header("x-sessions")
    assert "HTTP/2 error" in function.fetch(f"{secure.http2}/reset").problem
    assert function.fetch(f"{secure.http2}/echo").header("x-sessions") == sessions


def test_after_goodbye_the_next_request_opens_a_session(secure: Secure, function: Function):
    assert function.fetch(f"{secure.http2}/goaway").body == b"bye"
    assert function.fetch(f"{secure.http2}/").body == b"ok"
    assert "ended the connection" in function.fetch(f"{secure.http2}/destroy").problem
    assert function.fetch(f"{secure.http2}/").body == b"ok"


def test_what_hangs_in_a_session_ends_alone(lab: "Lab", secure: Secure):
    limits = FetchLimits(idle_seconds_max=0.1)
    fetcher = lab.fetcher("127.0.0.1", ca_file=secure.authority, limits=limits)
    stuck, other = Function(fetcher, "stuck"), Function(fetcher, "other")
    number = stuck.start(f"{secure.http2}/hang")
    assert stuck.next_event().kind is EventKind.HEAD
    assert other.fetch(f"{secure.http2}/").body == b"ok"
    stuck.subrequests.read(number)
    assert "took too long" in stuck.finish(number).problem
    assert fetcher.statistics()["fetch_connections"] == 1
