"""The server of containers with Node.js: Dispatch's runtime protocol, as a process of this machine."""

import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import skerry.functions
from skerry.kit.clock import rfc3339
from skerry.testing.waiting import accepts, until

SECONDS_MAX = 60.0
SOURCES = Path(skerry.functions.__file__).parent
SOURCE = """
const does = {
  echo: (context, given) => given,
  see: (context) => context,
  refuse: () => { throw new TypeError('no such person') },
  fail: async () => { throw new Error('it broke') },
  die: () => process.exit(7),
  slow: () => { console.log('begun'); return new Promise(() => {}) },
  show: (context, given) => { console.log('out', given); console.error('err', given) },
}
module.exports = (context, payload) => does[payload.do](context, payload.with)
"""


def environment(handler: str, socket: Path) -> dict[str, str]:
    return {"HANDLER": handler, "PORT": str(socket), "SERVERS": "2"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the base image, with the server in it."""
    folder = tmp_path_factory.mktemp("skerry")
    for file in ("containers/nodejs/serve.cjs", "local/node_worker.cjs"):
        shutil.copy(SOURCES / file, folder)
    return folder / "serve.cjs"


@pytest.fixture(scope="module")
def http(server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("function")
    (folder / "f.js").write_text(SOURCE)
    socket = folder / "s"
    node = shutil.which("node")
    assert node, "`make setup` brings a Node"
    process = subprocess.Popen([node, str(server)], cwd=folder, env=environment("./f.js", socket))
    transport = httpx.HTTPTransport(uds=str(socket))
    try:
        until(lambda: accepts(socket), "the server listens")
        with httpx.Client(transport=transport, base_url="http://function", timeout=2 * SECONDS_MAX) as client:
            yield client
    finally:
        process.terminate()
        assert process.wait(SECONDS_MAX) == 0, "it ends when it is asked to"


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
    for _ in range(2):
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


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("./none.js", "Cannot find module"),
        ("./g.js", "Invalid function file or handler"),
        ("", "Exactly 1 source"),
    ],
)
def test_a_handler_that_is_none_fails_the_build(server: Path, tmp_path: Path, handler: str, told: str) -> None:
    for name in ("g.js", "h.js"):
        (tmp_path / name).write_text("module.exports = 1")
    node = shutil.which("node")
    assert node
    check = [node, str(server), "--check"]
    done = subprocess.run(check, cwd=tmp_path, env=environment(handler, tmp_path), capture_output=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr.decode()
