"""What a command says of answers that are none of Skerry's, or of what is not there: a sentence, never a traceback."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry.cli import app, dispatch, printing, run_logs
from skerry.testing.scripted_server import Script, reply, reply_in_full, scripted_server
from tests.unit.cli.test_bad_input import kubeconfig

AGENT = {
    "addresses": ["https://127.0.0.1:1"],
    "ca": "",
    "dataDir": ".",
    "node": {"namespace": "default", "name": "n", "certificate": {"cert": "", "key": ""}},
}
PAGE = b"<html><h1>Bad Gateway</h1></html>"
COMMANDS = {
    "/v1/nodes/n/apps/a/logs": ["node", "logs", "n", "a"],
    "/v1/nodes/n/metrics": ["node", "metrics", "n"],
    "/v1/runs/r/logs": ["function", "logs", "r"],
    "/v1/runs/r/logs?follow=true": ["function", "logs", "r", "--follow"],
    "/v1/image/i": ["image", "get", "i"],
    "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions": ["get", "edgefunctions"],
}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int | str | None]:
    """Runs a command, and returns its exit code."""

    def run(*arguments: str) -> int | str | None:
        monkeypatch.setattr("sys.argv", ["skerry", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        return ended.value.code

    return run


Command = Callable[..., int | str | None]


async def said(answer: Script, path: str, tmp_path: Path, command: Command) -> int | str | None:
    async with scripted_server({path.partition("?")[0]: [answer]}) as server:
        place = kubeconfig(tmp_path / "k", server=f"http://127.0.0.1:{server.port}")
        return await asyncio.to_thread(command, *COMMANDS[path], "--kubeconfig", str(place))


@pytest.mark.parametrize("path", COMMANDS)
async def test_the_page_of_a_proxy_is_told(
    path: str, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await said(reply(502, PAGE), path, tmp_path, command) == 1
    assert "Bad Gateway" in capsys.readouterr().err


@pytest.mark.parametrize("path", COMMANDS)
async def test_a_redirect_is_told(
    path: str, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await said(reply(302, b"", location="/elsewhere"), path, tmp_path, command) == 1
    assert "302" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/runs/r/logs", "/v1/image/i"])
async def test_a_success_that_is_no_json_is_told(
    path: str, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await said(reply(200, PAGE), path, tmp_path, command) == 1
    assert "the server's answer is no JSON" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/nodes/n/metrics", "/v1/runs/r/logs", "/v1/image/i"])
async def test_of_a_refusal_its_code_and_sentence_are_told(
    path: str, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = reply(404, b'{"code": 4042, "message": "there is none"}')
    assert await said(refused, path, tmp_path, command) == 1
    told = capsys.readouterr().err
    assert "4042" in told
    assert "there is none" in told


async def test_an_empty_name_is_no_object_and_not_the_first_one(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"items": [{"metadata": {"name": "first", "namespace": "default"}}], "metadata": {}}
    async with scripted_server(
        {"/api/v1/namespaces/default/configmaps": [reply(200, json.dumps(found).encode())]}
    ) as at:
        place = kubeconfig(tmp_path / "k", server=f"http://127.0.0.1:{at.port}")
        code = await asyncio.to_thread(command, "get", "cm", "", "-o", "name", "--kubeconfig", str(place))
    told = capsys.readouterr()
    assert (code, told.out) == (1, "")
    assert "a name must be given" in told.err


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        (("function", "create", "f", "SOURCE"), ("/v1/function/f", "functions/f")),
        (("image", "create", "f", "b"), ("/v1/image/f", "images/f")),
        (("subscription", "create", "f", "--name", "f"), ("/v1/event/subscriptions/f", "subscriptions/f")),
    ],
)
async def test_what_is_never_ready_is_waited_for_so_long_and_no_longer(
    arguments: tuple[str, ...],
    places: tuple[str, str],
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "SETTLED_SECONDS_MAX", 0.3)
    made, seen = places
    (tmp_path / "source.py").write_text("def handle(context, payload): ...")
    pending = reply(200, json.dumps({"metadata": {"generation": 1}, "status": "CREATING"}).encode())
    unseen = reply(200, json.dumps({"metadata": {"generation": 1}}).encode())
    place = f"/apis/dispatch.skerry.dev/v1/namespaces/default/{seen}"
    scripts = {made.rpartition("/")[0]: [pending], made: [pending], place: [unseen]}
    async with scripted_server(scripts) as server:
        access = kubeconfig(tmp_path / "k", server=f"http://127.0.0.1:{server.port}")
        given = [str(tmp_path / "source.py") if each == "SOURCE" else each for each in arguments]
        assert await asyncio.to_thread(command, *given, "--kubeconfig", str(access)) == 1
    assert "neither READY nor in ERROR within 0.3 s" in capsys.readouterr().err


async def test_an_answer_of_a_function_is_printed_as_it_comes(
    tmp_path: Path, command: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    function = {"metadata": {"name": "f"}, "status": {"liveRevision": "f-1"}}
    async with scripted_server() as server:
        gateway = {"spec": {"listeners": [{"protocol": "HTTP", "port": server.port}]}}
        server.scripts |= {
            "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/f": [reply(200, json.dumps(function).encode())],
            "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/default": [
                reply(200, json.dumps(gateway).encode())
            ],
            "/": [reply_in_full(404, b"begun and cut off", content_length="1000")],
        }
        place = kubeconfig(tmp_path / "k", server=f"http://127.0.0.1:{server.port}")
        assert await asyncio.to_thread(command, "invoke", "f", "--kubeconfig", str(place)) == 1
    assert capfdbinary.readouterr().out.endswith(b"begun and cut off")


def test_a_note_that_can_not_be_read_is_told(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").mkdir()
    assert command("status", "--data-dir", str(tmp_path)) == 1
    assert "run.json can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("told", ["is damaged", "can't be read"])
def test_a_status_of_a_node_that_can_not_be_read_is_told(
    told: str, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.json").write_text(json.dumps(AGENT))
    if told == "is damaged":
        (tmp_path / "status.json").write_bytes(b"{")
    else:
        (tmp_path / "status.json").mkdir()
    assert command("agent", "--config", str(tmp_path / "agent.json"), "status") == 1
    assert told in capsys.readouterr().err


def test_brackets_are_no_styles(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (printing.out, printing.err):
        console.print("https://[fd00::1]:6443 /a/[red]/b")
    assert capsys.readouterr() == ("https://[fd00::1]:6443 /a/[red]/b\n",) * 2


async def test_a_log_that_ends_too_soon_is_not_asked_for_without_a_pause(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[int] = []

    class Noted:
        def __init__(self, *, first_seconds: float) -> None:
            assert first_seconds > 0

        def reset(self) -> None:
            pauses.clear()

        def next_seconds(self) -> float:
            pauses.append(1)
            return 0.0

    monkeypatch.setattr(run_logs, "Backoff", Noted)
    line = reply(200, b'id: 1\nevent: stdout\ndata: {"line": "hello"}\n\n')
    empty, end = reply(200, b": still there\n\n"), reply(200, b"event: end\ndata: {}\n\n")
    seen: list[int] = []

    async def ending(writer: asyncio.StreamWriter) -> None:
        seen.append(len(pauses))
        await end(writer)

    async with scripted_server({"/v1/runs/r/logs": [line, empty, empty, ending]}) as server:
        place = kubeconfig(tmp_path / "k", server=f"http://127.0.0.1:{server.port}")
        arguments = ["function", "logs", "r", "-f", "--kubeconfig", str(place)]
        assert await asyncio.to_thread(command, *arguments) == 0
        assert [request.headers.get("last-event-id") for request in server.seen] == [None, "1", "1", "1"]
    assert (seen, capsys.readouterr().out) == ([3], "hello\n")
