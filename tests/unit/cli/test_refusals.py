"""What a command says of an answer that is none of Skerry's: a sentence and exit code 1, never a traceback."""

import asyncio
import base64
import ssl
from pathlib import Path

import pytest
import yaml

from skerry.cli import app
from skerry.testing.scripted_server import Script, reply, scripted_server

PAGE = b"<html><h1>Bad Gateway</h1></html>"
COMMANDS = {
    "/v1/nodes/n/apps/a/logs": ["node", "logs", "n", "a"],
    "/v1/nodes/n/metrics": ["node", "metrics", "n"],
    "/v1/runs/r/logs": ["function", "logs", "r"],
    "/v1/runs/r/logs?follow=true": ["function", "logs", "r", "--follow"],
    "/v1/image/i": ["image", "get", "i"],
    "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions": ["get", "edgefunctions"],
}


def kubeconfig(path: Path, port: int) -> str:
    authority = ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0])
    server = {"server": f"http://127.0.0.1:{port}"}
    cluster = {**server, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    document = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


async def said(answer: Script, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    async with scripted_server({path.partition("?")[0]: [answer]}) as server:
        arguments = [*COMMANDS[path], "--kubeconfig", kubeconfig(tmp_path / "k", server.port)]
        monkeypatch.setattr("sys.argv", ["skerry", *arguments])

        def command() -> int | str | None:
            with pytest.raises(SystemExit) as ended:
                app.main()
            return ended.value.code

        return await asyncio.to_thread(command)


@pytest.mark.parametrize("path", COMMANDS)
async def test_the_page_of_a_proxy_is_told(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await said(reply(502, PAGE), path, tmp_path, monkeypatch) == 1
    assert "Bad Gateway" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/runs/r/logs", "/v1/image/i"])
async def test_a_success_that_is_no_json_is_told(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await said(reply(200, PAGE), path, tmp_path, monkeypatch) == 1
    assert "the server's answer is no JSON" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/v1/nodes/n/metrics", "/v1/runs/r/logs", "/v1/image/i"])
async def test_of_a_refusal_its_code_and_sentence_are_told(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = reply(404, b'{"code": 4042, "message": "there is none"}')
    assert await said(refused, path, tmp_path, monkeypatch) == 1
    told = capsys.readouterr().err
    assert "4042" in told
    assert "there is none" in told
