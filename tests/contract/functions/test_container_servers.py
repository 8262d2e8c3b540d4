"""The servers of containers: Dispatch's runtime protocol, as a process of this machine, in each language."""

import datetime as dt
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import skerry.functions
from skerry.kit.clock import rfc3339
from skerry.testing.ports import own_port
from skerry.testing.waiting import until

SECONDS_MAX = 60.0
#: More than Python's servers let wait by themselves (5).
CONNECTIONS = 100
SOURCES = Path(skerry.functions.__file__).parent
JAVASCRIPT = """
const does = {
  echo: (context, given) => given,
  see: (context) => context,
  pid: () => process.pid,
  refuse: () => { throw new TypeError('no such person') },
  fail: async () => { throw new Error('it broke') },
  die: () => process.exit(7),
  slow: () => { console.log('begun'); return new Promise(() => {}) },
  show: (context, given) => { console.log('out', given); console.error('err', given) },
}
module.exports = (context, payload) => does[payload.do](context, payload.with)
"""
PYTHON = """
import os, sys, threading

def handle(context, payload):
    given = payload["with"]
    match payload["do"]:
        case "echo": return given
        case "see": return context
        case "pid": return os.getpid()
        case "refuse": raise TypeError("no such person")
        case "fail": raise RuntimeError("it broke")
        case "die": os._exit(7)
        case "slow": print("begun", flush=True); threading.Event().wait()
        case "show": print("out", given); print("err", given, file=sys.stderr)
"""
SERVERS = "1"


@dataclass(frozen=True)
class Language:
    """How functions of a language are served."""

    files: tuple[str, str]
    file: str
    source: str
    handler: str
    program: Callable[[], str]
    #: A file without a function.
    other: str
    #: Handlers that are none, and what is told of them.
    wrong: tuple[tuple[str, str], ...]


def node() -> str:
    found = shutil.which("node")
    assert found, "`make setup` brings a Node"
    return found


NODEJS = Language(
    ("containers/nodejs/serve.cjs", "local/node_worker.cjs"),
    "f.js",
    JAVASCRIPT,
    "./f.js",
    node,
    "module.exports = 1",
    (
        ("./none.js", "Cannot find module"),
        ("./g.js", "Invalid function file or handler"),
        ("", "Exactly 1 source"),
    ),
)
PYTHON3 = Language(
    ("containers/python3/serve.py", "local/python_worker.py"),
    "f.py",
    PYTHON,
    "f.handle",
    lambda: sys.executable,
    "handle = 1",
    (
        ("none.handle", "No module named 'none'"),
        ("g.handle", "Invalid function file or handler"),
        ("", "Exactly 1 source"),
    ),
)


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    http: httpx.Client
    port: int
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module", params=[NODEJS, PYTHON3], ids=["nodejs", "python3"])
def language(request: pytest.FixtureRequest) -> Language:
    found: Language = request.param
    return found


@pytest.fixture(scope="module")
def server(language: Language, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a base image, with its files in a folder of this machine."""
    folder = tmp_path_factory.mktemp("skerry")
    for file in language.files:
        shutil.copy(SOURCES / file, folder)
    return [language.program(), str(folder / Path(language.files[0]).name)]


@pytest.fixture(scope="module")
def served(language: Language, server: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("function"), own_port()
    (folder / language.file).write_text(language.source)
    environment = {"HANDLER": language.handler, "PORT": str(port), "SERVERS": SERVERS}
    process = subprocess.Popen(server, cwd=folder, env=environment)
    try:
        until(lambda: listens(port), "the server listens")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=2 * SECONDS_MAX, trust_env=False) as client:
            yield Served(client, port, process)
    finally:
        process.terminate()
        assert process.wait(SECONDS_MAX) == 0, "it ends when it is asked to"


@pytest.fixture
def http(served: Served) -> httpx.Client:
    return served.http


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def standing_still(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a process of ours do nothing for the length of the block."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def run(http: httpx.Client, do: str, given: Any = None, **context: Any) -> Any:
    answer = http.post("/", json={"context": context, "payload": {"do": do, "with": given}})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_message_comes_back_with_what_was_printed(http: httpx.Client) -> None:
    assert http.get("/healthz").status_code == 200
    assert run(http, "echo", {"a": [1, None, "é"]})["payload"] == {"a": [1, None, "é"]}
    assert run(http, "see", event={"type": "t"})["payload"] == {"event": {"type": "t"}}
    shown = run(http, "show", 5)
    assert shown == {"context": {"error": None, "logs": {"stdout": ["out 5"], "stderr": ["err 5"]}}, "payload": None}


def test_connections_that_come_together_wait_for_the_server_and_need_not_be_tried_again(served: Served) -> None:
    with ExitStack() as connections:
        with standing_still(served.process):
            for _ in range(CONNECTIONS):
                at_once = socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS_MAX)
                connections.enter_context(at_once)
        assert run(served.http, "echo", 1)["payload"] == 1


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [
        ("refuse", "InputError", "no such person"),
        ("fail", "FunctionError", "it broke"),
        ("die", "SystemError", "the function's process ended: exit code 7"),
    ],
)
def test_who_is_to_blame_is_told_and_the_next_run_works(http: httpx.Client, do: str, kind: str, message: str) -> None:
    error = run(http, do)["context"]["error"]
    assert (error["type"], error["message"]) == (kind, message)
    assert run(http, "echo", 1)["payload"] == 1


def test_a_deadline_is_kept_to(http: httpx.Client) -> None:
    for seconds in (2, 10, 60):  # more of it, where a busy machine has not come to the print
        soon = rfc3339(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds))
        late = run(http, "slow", deadline=soon)["context"]
        if late["logs"]["stdout"]:
            break
    assert (late["error"]["type"], late["error"]["message"]) == (
        "FunctionError",
        "Function execution exceeded the timeout",
    )
    assert late["logs"]["stdout"] == ["begun"]
    over = run(http, "echo", deadline=soon)["context"]["error"]
    assert (over["type"], over["message"]) == ("FunctionError", "Did not invoke, already exceeded timeout")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"context": 1}'])
def test_what_is_no_message_is_the_callers_error(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/any/path", content=body)
    assert answer.status_code == 200
    assert answer.json()["context"]["error"]["type"] == "InputError"
    assert answer.json()["context"]["error"]["message"].startswith("Invalid Input: ")


@pytest.mark.parametrize("deadline", ["2020-01-01T00:00:00Z", "soon", "2020-01-01T00:00:00"])
def test_a_run_that_is_not_begun_ends_no_process(http: httpx.Client, deadline: str) -> None:
    before = run(http, "pid")["payload"]
    assert run(http, "pid", deadline=deadline)["context"]["error"]["type"] in {"FunctionError", "InputError"}
    assert run(http, "pid")["payload"] == before


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: -5",
        "Content-Length: five",
        "Content-Length: +5",
        "Content-Length: 5\r\nContent-Length: 6",
        f"Content-Length: {'9' * 5000}",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ],
    ids=["negative", "word", "sign", "two", "long", "chunked"],
)
def test_a_length_that_is_none_is_refused_and_nothing_is_read(served: Served, head: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), SECONDS_MAX) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: function\r\n{head}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert run(served.http, "echo", 1)["payload"] == 1


def test_a_caller_that_goes_away_as_it_asks_ends_nothing(served: Served) -> None:
    before = run(served.http, "pid")["payload"]
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", served.port), SECONDS_MAX) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
            connection.sendall(b"POST / HTTP/1.1\r\nHost: function\r\nContent-Length: 100\r\n\r\n{")
        assert run(served.http, "pid")["payload"] == before


def test_a_handler_that_is_none_fails_the_build(language: Language, server: list[str], tmp_path: Path) -> None:
    for name in ("g", "h"):
        (tmp_path / name).with_suffix(Path(language.file).suffix).write_text(language.other)
    for handler, told in language.wrong:
        environment = {"HANDLER": handler, "PORT": "0", "SERVERS": SERVERS}
        done = subprocess.run([*server, "--check"], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert done.returncode == 1
        assert told in done.stderr.decode()
