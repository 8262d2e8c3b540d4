"""What functions can use besides themselves, and functions that are Wasm binaries, behind the real Envoy."""

import hashlib
import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from wasmtime import wat2wasm

from skerry.kit.clock import SystemClock, rfc3339
from skerry.testing.manifests import edge_function
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until
from tests.system.conftest import greeter


def deploy(skerry: SkerryProcess, manifest: str) -> str:
    name = json.loads(manifest)["metadata"]["name"]
    skerry.apply(manifest)
    skerry.until_ready(f"edgefunction/{name}")
    return f"http://{name}.functions.localhost"


def test_kv_is_one_for_all_workers_and_outlives_them(skerry: SkerryProcess):
    source = """export default { async fetch(request, env) {
        const key = new URL(request.url).pathname;
        if (request.method === 'PUT') await env.KV.put(key, await request.text());
        return new Response(await env.KV.get(key) ?? 'nothing');
    } };"""
    url = deploy(skerry, edge_function("keeper", source))
    assert skerry.get(f"{url}/a").text == "nothing"
    assert skerry.request("PUT", f"{url}/a", content="kept").text == "kept"
    assert {skerry.get(f"{url}/a").text for _ in range(50)} == {"kept"}
    deploy(skerry, edge_function("keeper", source + "\n// another revision"))
    skerry.kill()
    skerry.start()
    assert skerry.get(f"{url}/a").text == "kept"
    other = deploy(skerry, edge_function("snooper", source))
    assert skerry.get(f"{other}/a").text == "nothing"
    pair = []
    for name in ("sharer", "partner"):
        manifest = json.loads(edge_function(name, source))
        manifest["spec"]["template"]["runtime"] = {"kvNamespace": "keeper"}
        pair.append(deploy(skerry, json.dumps(manifest)))
    assert skerry.get(f"{pair[0]}/a").text == "nothing", "a name is no function's own namespace"
    assert skerry.request("PUT", f"{pair[0]}/a", content="ours").text == "ours"
    assert skerry.get(f"{pair[1]}/a").text == "ours"


def test_the_counter_of_the_examples_counts(skerry: SkerryProcess, repository: Path):
    skerry.kubectl("apply", "-f", str(repository / "examples/counter/function.yaml"))
    skerry.until_ready("edgefunction/counter")
    assert [skerry.get("http://counter.functions.localhost/visits").text for _ in range(3)] == ["1\n", "2\n", "3\n"]


def test_the_daily_counter_of_the_examples_counts_and_has_its_schedule(skerry: SkerryProcess, repository: Path):
    skerry.kubectl("apply", "-f", str(repository / "examples/schedule/function.yaml"))
    skerry.until_ready("edgefunction/daily")
    assert [skerry.get("http://daily.functions.localhost/").text for _ in range(2)] == ["1 today\n", "2 today\n"]
    skerry.kubectl("wait", "--for=jsonpath={.status.schedules[0].activeSince}", "ef/daily", "--timeout=60s")


def test_a_function_cannot_reach_what_listens_on_the_machine(skerry: SkerryProcess):
    source = """export default { async fetch(request) {
        const to = new URL(request.url).searchParams.get('to');
        return new Response(await fetch(to).then((r) => `answered ${r.status}`, (error) => error.message));
    } };"""
    url = deploy(skerry, edge_function("prober", source))
    for to in (skerry.api, skerry.http, "http://169.254.169.254/latest/meta-data", "http://localhost:22/"):
        assert "is not a public address" in skerry.get(url, params={"to": to}).text


@contextmanager
def reached() -> Iterator[int]:
    """Serve "reached" on a port of loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "7")
            self.end_headers()
            self.wfile.write(b"reached")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_an_egress_policy_is_in_force_at_the_next_fetch_without_a_new_revision(skerry: SkerryProcess, repository: Path):
    source = """export default { async fetch(request) {
        const to = new URL(request.url).searchParams.get('to');
        return new Response(await fetch(to).then((r) => r.text(), (error) => error.message));
    } };"""
    url = deploy(skerry, edge_function("egress-prober", source))
    revision = skerry.kubectl("get", "edgefunction/egress-prober", "-o", "jsonpath={.status.liveRevision}")
    with reached() as port:
        to = {"to": f"http://127.0.0.1:{port}/"}

        def apply(**spec: object) -> None:
            policy = {
                "apiVersion": "extensions.skerry.dev/v1alpha1",
                "kind": "EgressPolicy",
                "metadata": {"name": "probing"},
                "spec": {"functions": ["egress-prober"], **spec},
            }
            skerry.apply(json.dumps(policy))

        assert "is not a public address" in skerry.get(url, params=to).text
        apply(allow=[{"cidrs": ["127.0.0.0/8"]}])
        until(lambda: skerry.get(url, params=to).text == "reached")
        assert "is not a public address" in skerry.get(url, params={"to": skerry.api}).text, "its port is not named"
        apply(allow=[{"cidrs": ["127.0.0.0/8"]}], deny=[{"ports": [port]}])
        until(lambda: "denied by an EgressPolicy" in skerry.get(url, params=to).text)
        table = skerry.kubectl("get", "egresspolicies")
        assert table.split() == ["NAME", "DEFAULT", "FUNCTIONS", "AGE", "probing", "Allow", "1", table.split()[-1]]
        skerry.kubectl("delete", "egresspolicy/probing")
        until(lambda: "is not a public address" in skerry.get(url, params=to).text)
    assert skerry.kubectl("get", "edgefunction/egress-prober", "-o", "jsonpath={.status.liveRevision}") == revision
    skerry.kubectl("apply", "--dry-run=server", "-f", str(repository / "examples/egress/policy.yaml"))


def wasm_function(name: str, url: str) -> str:
    template = {"mode": "backend", "code": {"wasmSource": {"url": url}}}
    manifest = json.loads(edge_function(name, "unused"))
    return json.dumps({**manifest, "spec": {"template": template}})


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """Serve a folder over HTTP."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **_: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_wasi_program_from_the_web_answers_and_follows_its_url(skerry: SkerryProcess, tmp_path: Path, files: str):
    for text in ("one", "two"):
        (tmp_path / f"{text}.wasm").write_bytes(greeter(text))
    url = deploy(skerry, wasm_function("program", f"{files}/one.wasm"))
    assert skerry.get(url).text == "one"
    pin = hashlib.sha256(greeter("two")).hexdigest()
    deploy(skerry, wasm_function("program", f"{files}/two.wasm#sha256={pin}"))
    assert skerry.get(url).text == "two"


def test_a_wasi_program_from_a_file_answers(skerry: SkerryProcess, tmp_path: Path):
    (tmp_path / "f.wasm").write_bytes(greeter("from a file"))
    assert skerry.get(deploy(skerry, wasm_function("filed", f"file://{tmp_path}/f.wasm"))).text == "from a file"


def test_a_program_that_knows_an_answer_alone_can_be_no_filter(skerry: SkerryProcess, tmp_path: Path):
    (tmp_path / "f.wasm").write_bytes(greeter("an answer"))
    manifest = json.loads(wasm_function("no-filter", f"file://{tmp_path}/f.wasm"))
    manifest["spec"]["template"]["mode"] = "filter"
    skerry.apply(json.dumps(manifest))
    wait_for_message(skerry, "no-filter", "can't run in mode filter")


def wait_for_message(skerry: SkerryProcess, name: str, message: str) -> None:
    """Ask until a function's Ready condition is False and says something."""
    ready = "jsonpath={range .status.conditions[?(@.type=='Ready')]}{.status} {.message}{end}"

    def is_said() -> bool:
        told = skerry.kubectl("get", "ef", name, "-o", ready)
        return told.startswith("False") and message in told

    until(is_said, f"{name} says {message!r}")


def test_a_binary_that_is_not_what_was_asked_for_or_can_not_run_says_so(
    skerry: SkerryProcess, tmp_path: Path, files: str
):
    (tmp_path / "good.wasm").write_bytes(greeter("good"))
    (tmp_path / "bad.wasm").write_bytes(bytes(wat2wasm("(module)")))
    expected = {
        f"{files}/good.wasm#sha256={'0' * 64}": "sha256",
        f"{files}/bad.wasm": "does not export _start and memory; accepted is a WASI preview 1 command",
        f"{files}/absent.wasm": "404",
    }
    for number, (url, message) in enumerate(expected.items()):
        name = f"faulty-{number}"
        skerry.apply(wasm_function(name, url))
        wait_for_message(skerry, name, message)
    refused = skerry.kubectl("apply", "-f", "-", stdin=wasm_function("f", "ftp://a.test/f.wasm"), fails=True)
    assert "spec.template.code.wasmSource.url" in refused


SCHEDULED = """export default {
  async fetch(request, env) {
    return new Response(await env.KV.get("ran") ?? "never");
  },
  async scheduled(event, env, ctx) {
    ctx.waitUntil(env.KV.put("ran", `${event.cron} at ${event.scheduledTime / 60000 % 1}`));
  },
};"""


def test_a_function_runs_by_the_clock_and_nobody_else_can_make_it(skerry: SkerryProcess):
    manifest = json.loads(edge_function("clockwork", SCHEDULED))
    zone = {"timeZone": "Europe/Berlin"}
    before = SystemClock().now() - timedelta(minutes=3)  # it was due, and is not for the better part of an hour
    cron = f"{before.minute} * * * *"
    manifest["spec"]["template"]["schedules"] = [{"cron": cron}, {"cron": "1 1 1 1 1", **zone}]
    url = deploy(skerry, json.dumps(manifest))
    forged = {"revision": live_revision(skerry, "clockwork"), "cron": "forged", "dueMs": 0}
    assert skerry.request("POST", f"{url}/__skerry/scheduled", json=forged).text == "never"
    skerry.kubectl("wait", "--for=jsonpath={.status.schedules[1].activeSince}", "ef/clockwork", "--timeout=60s")
    schedules = json.loads(skerry.kubectl("get", "ef", "clockwork", "-o", "jsonpath={.status.schedules}"))
    assert [schedule["timeZone"] for schedule in schedules] == ["Etc/UTC", "Europe/Berlin"]
    schedules[0]["activeSince"] = rfc3339(before - timedelta(minutes=1))
    patch = json.dumps({"status": {"schedules": schedules}})
    skerry.kubectl("patch", "ef", "clockwork", "--subresource=status", "--type=merge", "-p", patch)
    skerry.kubectl(
        "wait", "--for=jsonpath={.status.schedules[0].lastResult}=Succeeded", "ef/clockwork", "--timeout=60s"
    )
    assert skerry.get(url).text == f"{cron} at 0"


def live_revision(skerry: SkerryProcess, name: str) -> str:
    return skerry.kubectl("get", "ef", name, "-o", "jsonpath={.status.liveRevision}")


def test_a_schedule_that_is_none_is_refused_with_its_field(skerry: SkerryProcess):
    manifest = json.loads(edge_function("broken-clock", SCHEDULED))
    manifest["spec"]["template"]["schedules"] = [{"cron": "61 * * * *"}, {"cron": "* * * * *", "timeZone": "Mars"}]
    told = skerry.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), fails=True)
    assert "spec.template.schedules[0].cron" in told
    assert "spec.template.schedules[1].timeZone" in told


HANDSHAKE = (
    "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: Of the key above (RFC 6455, section 1.3).
ACCEPTED = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#: A masked text frame of a client, and an unmasked one of a server (RFC 6455, section 5.7).
CLIENT_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")
SERVER_HELLO = bytes.fromhex("810548656c6c6f")


@pytest.fixture
def greeter_of_websockets() -> Iterator[int]:
    """Accept WebSocket connections, answer each frame with a greeting, and yield the port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline() not in {b"\r\n", b""}:
                pass
            head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            self.wfile.write(f"{head}Sec-WebSocket-Accept: {ACCEPTED}\r\n\r\n".encode())
            while self.rfile.read(len(CLIENT_HELLO)) == CLIENT_HELLO:
                self.wfile.write(SERVER_HELLO)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def handshake(connection: socket.socket, host: str) -> str:
    """Ask for a WebSocket; return the head of the answer."""
    connection.sendall(HANDSHAKE.format(host=host).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        assert piece, head
        head += piece
    return head.decode()


def test_a_websocket_passes_to_a_backend_and_a_function_says_that_it_takes_none(
    skerry: SkerryProcess, greeter_of_websockets: int
):
    deploy(skerry, edge_function("deaf", "export default { fetch() { return new Response('ok'); } };"))
    backend = {
        "apiVersion": "core.apoxy.dev/v1alpha2",
        "kind": "Backend",
        "metadata": {"name": "chat"},
        "spec": {"endpoints": [{"ip": "127.0.0.1"}]},
    }
    ref = {"group": "core.apoxy.dev", "kind": "Backend", "name": "chat", "port": greeter_of_websockets}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "chat", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "default"}],
            "hostnames": ["chat.example.com"],
            "rules": [{"backendRefs": [ref]}],
        },
    }
    skerry.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [backend, route]})
    )
    condition = '{.status.parents[0].conditions[?(@.type=="ResolvedRefs")].status}'
    skerry.kubectl("wait", f"--for=jsonpath={condition}=True", "httproute/chat", "--timeout=60s")
    place = urlsplit(skerry.http)
    with socket.create_connection((place.hostname, place.port or 80), timeout=30) as connection:
        head = handshake(connection, "chat.example.com")
        assert head.startswith("HTTP/1.1 101 "), head
        assert ACCEPTED in head
        for _ in range(3):
            connection.sendall(CLIENT_HELLO)
            assert connection.recv(len(SERVER_HELLO), socket.MSG_WAITALL) == SERVER_HELLO
    with socket.create_connection((place.hostname, place.port or 80), timeout=30) as connection:
        head = handshake(connection, "deaf.functions.localhost")
        assert head.startswith("HTTP/1.1 501 "), head
        assert "x-skerry-error: not-implemented" in head
        assert b"functions take no WebSocket connections" in connection.recv(1024)
