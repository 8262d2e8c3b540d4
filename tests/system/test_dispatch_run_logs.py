"""What runs print, followed while they go on: by the API and by the command."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from skerry.testing.dispatch_client import DispatchClient
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

PYTHON = """
import os, sys, time

def handle(context, path):
    print("out 1")
    print("err 1", file=sys.stderr)
    while not os.path.exists(path):
        time.sleep(0.01)
    print("out 2")
    if open(path).read():
        raise RuntimeError("it broke")
"""
NODE = """
const fs = require('fs');
module.exports = async (context, path) => {
  console.log('out 1');
  console.error('err 1');
  while (!fs.existsSync(path)) await new Promise((done) => setTimeout(done, 10));
  console.log('out 2');
};
"""
JAVASCRIPT = """
module.exports = async () => {
  console.log('out 1');
  console.error('err 1');
  for (;;) await new Promise((done) => setTimeout(done, 10));
};
"""


@pytest.fixture(scope="module")
def dispatch(skerry: SkerryProcess) -> Iterator[DispatchClient]:
    with DispatchClient.of(skerry) as client:
        client.create_function("python", PYTHON)
        for name, source in (("node", NODE), ("javascript", JAVASCRIPT)):
            code = base64.b64encode(source.encode()).decode()
            client.post("/v1/function", 201, name=name, image="nodejs", source=code)
            client.until(f"/v1/function/{name}", lambda found: found["status"] == "READY")
        yield client


def begun(dispatch: DispatchClient, function: str, payload: Any = None, **more: Any) -> str:
    body = {"input": payload, **more}
    answer = dispatch.http.post("/v1/runs", params={"functionName": function}, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["name"])


class Followed:
    """The events of a run's lines."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        self._lines = answer.iter_lines()
        self.last_id = ""

    def next(self) -> tuple[str, Any]:
        """Wait for the next event; return its name, and its line or status."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                break
        self.last_id = fields["id"]
        (value,) = orjson.loads(fields["data"]).values()
        return fields["event"], value


def follow(dispatch: DispatchClient, run: str, last_id: str = "") -> Any:
    headers = {"last-event-id": last_id} if last_id else {}
    return dispatch.http.stream("GET", f"/v1/runs/{run}/logs", params={"follow": "true"}, headers=headers)


@pytest.mark.parametrize("function", ["python", "node"])
def test_lines_come_while_the_run_goes_on_and_it_says_how_it_ended(
    dispatch: DispatchClient, tmp_path: Path, function: str
) -> None:
    run = begun(dispatch, function, str(tmp_path / "go"))
    with follow(dispatch, run) as answer:
        events = Followed(answer)
        assert {events.next(), events.next()} == {("stdout", "out 1"), ("stderr", "err 1")}
        seen = events.last_id
        assert dispatch.http.get(f"/v1/runs/{run}").json()["status"] == "CREATING"
        assert dispatch.http.get(f"/v1/runs/{run}/logs").json() == {"stdout": ["out 1"], "stderr": ["err 1"]}
        (tmp_path / "go").touch()
        assert [events.next(), events.next()] == [("stdout", "out 2"), ("end", "READY")]
    with follow(dispatch, run, seen) as answer:
        events = Followed(answer)
        assert [events.next(), events.next()] == [("stdout", "out 2"), ("end", "READY")]


def test_lines_of_a_run_within_the_engine_come_too_and_a_cancelled_one_keeps_them(dispatch: DispatchClient) -> None:
    run = begun(dispatch, "javascript")
    with follow(dispatch, run) as answer:
        events = Followed(answer)
        assert {events.next(), events.next()} == {("stdout", "out 1"), ("stderr", "err 1")}
        assert dispatch.http.delete(f"/v1/runs/{run}").status_code == 202
        assert events.next() == ("end", "ERROR")
    assert dispatch.http.get(f"/v1/runs/{run}").json()["logs"] == {"stdout": ["out 1"], "stderr": ["err 1"]}


def test_a_run_that_is_over_is_replayed(dispatch: DispatchClient, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    run = begun(dispatch, "python", str(tmp_path / "go"))
    dispatch.until(f"/v1/runs/{run}", lambda found: found["status"] == "READY")
    with follow(dispatch, run) as answer:
        events = Followed(answer)
        said = [events.next() for _ in range(4)]
    assert said == [("stdout", "out 1"), ("stdout", "out 2"), ("stderr", "err 1"), ("end", "READY")]


def test_each_attempt_of_a_run_is_followed(dispatch: DispatchClient, tmp_path: Path) -> None:
    (tmp_path / "go").write_text("fail")
    run = begun(dispatch, "python", str(tmp_path / "go"), retries=1, backoff="0s")
    with follow(dispatch, run) as answer:
        events = Followed(answer)
        said = [events.next()]
        while said[-1][0] != "end":
            said.append(events.next())
    assert said[-1] == ("end", "ERROR")
    assert [line for name, line in said if name == "stdout"][-2:] == ["out 1", "out 2"]


def test_what_is_wrong_with_a_request_for_lines_is_told(dispatch: DispatchClient) -> None:
    absent = "/v1/runs/00000000-0000-4000-8000-000000000000/logs"
    assert dispatch.http.get(absent).json() == {"code": 404, "message": "function run  not found"}
    assert dispatch.http.get(absent, params={"follow": "true"}).status_code == 404
    run = begun(dispatch, "javascript")
    with follow(dispatch, run, "x") as answer:
        assert answer.status_code == 400
        assert b"Last-Event-ID" in answer.read()
    dispatch.http.delete(f"/v1/runs/{run}")


def test_the_command_prints_lines_as_they_come(skerry: SkerryProcess, dispatch: DispatchClient, tmp_path: Path) -> None:
    run = begun(dispatch, "python", str(tmp_path / "go"))
    command = [sys.executable, "-m", "skerry", "function", "logs", run, "-f", "--data-dir", str(skerry.data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as printing:
        assert printing.stdout is not None
        assert printing.stderr is not None
        assert [printing.stdout.readline(), printing.stderr.readline()] == ["out 1\n", "err 1\n"]
        (tmp_path / "go").touch()
        assert [printing.stdout.read(), printing.stderr.read()] == ["out 2\n", ""]
    assert printing.returncode == 0
    assert skerry.skerry("function", "logs", run) == "out 1\nout 2\nerr 1\n"
