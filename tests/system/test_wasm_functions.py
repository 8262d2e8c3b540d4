"""Real programs behind the real Envoy: WASI commands in C and Go, components in Python and JavaScript."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from wasmtime import wat2wasm

from skerry.testing.manifests import edge_function
from skerry.testing.plugins import built
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import SECONDS_MAX, until

MODULES = {"c": "command-c", "go": "command-go", "python": "function-python", "js": "http-js"}
COMPONENTS = ("python", "js")
LANGUAGES = tuple(MODULES)
COMPUTES_SECONDS = "1s"
#: Where no function may connect to.
REFUSED = "http://169.254.169.254/latest/meta-data"


#: Until this is set, an answer at /held is half sent.
RELEASED = threading.Event()


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent, and with the header x-from."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/held":
            self.hold()
            return
        answer = b"%b from %b" % (body, self.headers["x-from"].encode())
        self.send_response(201)
        self.send_header("content-type", "text/upstream")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def hold(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(b"begun\n")
        RELEASED.wait(SECONDS_MAX)
        self.wfile.write(b"ended\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def manifest(name: str, wasm: Path, **runtime: object) -> str:
    """Return an EdgeFunction that is a Wasm binary."""
    code = {"wasmSource": {"url": f"file://{wasm}"}}
    env = [{"name": "GREETING", "value": "hello"}]
    template = {"mode": "backend", "code": code, "env": env, "runtime": runtime}
    return json.dumps({**json.loads(edge_function(name, "unused")), "spec": {"template": template}})


Get = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def skerry(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, repository: Path) -> Iterator[SkerryProcess]:
    """One Skerry that has every program, each twice: `NAME`, and `NAME-brief` with a second to compute."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SKERRY_EGRESS_ALLOW", "127.0.0.1")
        folders = (built(repository, MODULES["c"]).parent, tmp_path_factory.getbasetemp())
        environment.setenv("SKERRY_FETCH_FILE_DIRS", ",".join(map(str, folders)))
        with SkerryProcess.started(tmp_path_factory.mktemp("skerry") / "data", cache_dir=cache_dir) as running:
            for language, module in MODULES.items():
                path = built(repository, module)
                running.apply(manifest(language, path))
                brief = manifest(f"{language}-brief", path, limits={"cpuTime": COMPUTES_SECONDS}, timeout="3s")
                running.apply(brief)
            for language in MODULES:  # compiling a component of 19 MB takes long on a busy machine, once
                running.until_ready(f"edgefunction/{language}", f"edgefunction/{language}-brief")
            yield running


@pytest.fixture
def get(skerry: SkerryProcess) -> Get:
    def send(language: str, path: str = "/", method: str = "GET", **options: object) -> httpx.Response:
        return skerry.request(method, f"http://{language}.functions.localhost{path}", **options)

    return send


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_sees_its_variables_and_says_who_made_it(get: Get, language: str):
    answer = get(language)
    assert (answer.status_code, answer.text) == (200, f"hello from {language}")
    assert answer.headers["x-made-by"] == language
    assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_sees_method_headers_and_query(get: Get, language: str):
    answer = get(language, "/headers?a=1&b=%20", "PUT", headers={"x-asked": "for this"}, content=b"")
    assert answer.text == "PUT for this a=1&b=%20"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", [0, 1, 1_500_000])
def test_a_body_comes_back_as_it_went(get: Get, language: str, size: int):
    body = bytes(range(256)) * (size // 256 + 1)
    assert get(language, "/echo", "POST", content=body[:size]).content == body[:size]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_program_says_is_in_its_log(skerry: SkerryProcess, get: Get, language: str):
    get(language)
    path = f"/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/{language}/log"
    until(lambda: f"said by {language}" in skerry.kubectl("get", "--raw", path))


@pytest.mark.parametrize("language", COMPONENTS)
def test_a_component_fetches_what_it_may_and_nothing_else(get: Get, upstream: str, language: str):
    answer = get(language, "/fetch", params={"to": upstream})
    assert (answer.status_code, answer.text) == (201, "sent from a function")
    assert answer.headers["x-type"] == "text/upstream"
    assert get(language, "/fetch", params={"to": REFUSED}).status_code == 502


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_trap_is_a_500_that_harms_no_other_request(get: Get, language: str):
    answer = get(language, "/trap")
    assert answer.status_code == 500
    assert answer.headers["x-skerry-error"] in {"trap", "exception"}
    assert get(language).text == f"hello from {language}"


def test_what_computes_or_grows_for_ever_is_ended_while_others_are_answered(get: Get):
    with ThreadPoolExecutor(2 * len(LANGUAGES)) as threads:
        looping = [threads.submit(get, f"{language}-brief", "/loop") for language in LANGUAGES]
        growing = [threads.submit(get, f"{language}-brief", "/memory") for language in LANGUAGES]
        for language in LANGUAGES:
            assert get(language).text == f"hello from {language}"
        assert {each.result().headers["x-skerry-error"] for each in looping} <= {"cpu-time", "timeout"}
        assert {each.result().status_code for each in growing} <= {500, 504}


def test_a_flood_of_standard_error_is_cut_and_holds_nobody_up(skerry: SkerryProcess, get: Get):
    over, statuses = threading.Event(), set[int]()

    def flood(language: str) -> None:
        while not over.is_set():
            statuses.add(get(f"{language}-brief", "/flood").status_code)

    def is_cut(language: str) -> bool:
        log = f"/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/{language}-brief/log"
        return "bytes more were dropped" in skerry.kubectl("get", "--raw", log)

    with ThreadPoolExecutor(len(LANGUAGES)) as threads:
        flooding = [threads.submit(flood, language) for language in LANGUAGES]
        try:
            assert {get("c").text for _ in range(2 * len(LANGUAGES))} == {"hello from c"}
            for language in LANGUAGES:
                until(lambda language=language: is_cut(language), f"the log of {language} is cut")  # type: ignore[misc]
        finally:
            over.set()
        for each in flooding:
            each.result()
    assert statuses <= {500, 504}


def test_a_component_of_our_world_keeps_values_and_its_instance(get: Get):
    assert get("python", "/kv").text == "['a'] None b'1' None"
    served = {int(get("python", "/served").text) for _ in range(20)}
    assert max(served) > 1


def test_errors_of_a_component_of_our_world_are_told(get: Get):
    assert get("python", "/error").json()["message"] == "the function answered with an error: an error of its own"
    assert get("python", "/large").headers["x-skerry-error"] == "response-too-large"
    assert get("python", "/echo", "POST", content=bytes(3 << 20)).status_code == 413


def open_stream(skerry: SkerryProcess, method: str, path: str, *headers: str) -> socket.socket:
    """Begin a request to the wasi:http component; its body, in chunks, is the caller's."""
    address = httpx.URL(skerry.http)
    sock = socket.create_connection((address.host, address.port or 80), timeout=SECONDS_MAX)
    lines = [f"{method} {path} HTTP/1.1", "host: js.functions.localhost", *headers, "", ""]
    sock.sendall("\r\n".join(lines).encode())
    return sock


def read_until(sock: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        piece = sock.recv(65_536)
        assert piece, data
        data += piece
    return data


def test_an_answer_is_sent_as_it_is_written(skerry: SkerryProcess, get: Get, upstream: str):
    with open_stream(skerry, "GET", f"/fetch?to={upstream}held") as sock:
        read_until(sock, b"begun\n")  # there is no more yet
        RELEASED.set()
        read_until(sock, b"ended\n\r\n0\r\n\r\n")
    assert get("js", "/stream").text == "0\n1\n2\n"


def test_a_body_is_answered_while_it_is_still_being_sent(skerry: SkerryProcess):
    with open_stream(skerry, "POST", "/echo", "transfer-encoding: chunked") as sock:
        for piece in (b"one", b"two"):
            sock.sendall(b"3\r\n%b\r\n" % piece)
            read_until(sock, piece)
        sock.sendall(b"0\r\n\r\n")
        read_until(sock, b"0\r\n\r\n")


def test_a_large_body_streams_through_with_a_slow_reader(skerry: SkerryProcess):
    size = 8 << 20
    with open_stream(skerry, "POST", "/echo", f"content-length: {size}") as sock:
        threading.Thread(target=sock.sendall, args=(bytes(size),)).start()
        head, _, rest = read_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
        assert b" 200 " in head
        rest += read_until(sock, b"\r\n0\r\n\r\n")
    assert rest.count(0) == size


def test_an_answer_that_breaks_off_is_no_whole_answer(skerry: SkerryProcess):
    with httpx.Client(trust_env=False, timeout=SECONDS_MAX) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{skerry.http}/broken", headers={"host": "js.functions.localhost"})


def test_an_exception_of_a_handler_is_a_500(get: Get):
    assert get("js", "/throw").status_code == 500


def test_a_function_that_may_not_fetch_is_told_so(skerry: SkerryProcess, get: Get, repository: Path, upstream: str):
    for language in COMPONENTS:
        refused = json.loads(manifest(f"{language}-alone", built(repository, MODULES[language])))
        refused["spec"]["template"]["runtime"]["capabilities"] = {"fetchAPI": False}
        skerry.apply(json.dumps(refused))
        skerry.until_ready(f"edgefunction/{language}-alone")
        assert get(f"{language}-alone", "/fetch", params={"to": upstream}).status_code == 502


def test_a_component_that_can_not_be_run_says_what_it_lacks(skerry: SkerryProcess, tmp_path: Path):
    (tmp_path / "f.wasm").write_bytes(wat2wasm('(component (import "acme:db/rows@1.0.0" (instance)))'))
    skerry.apply(manifest("lacking", tmp_path / "f.wasm"))
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].message}"
    until(lambda: "exports nothing; accepted is" in skerry.kubectl("get", "ef", "lacking", "-o", ready))
