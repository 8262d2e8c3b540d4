import sys
from pathlib import Path

import pytest
import yaml

from skerry.api.core_v1 import CONFIG_MAP
from skerry.cli import app
from skerry.cli.printing import print_objects


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["skerry", *arguments])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("KUBECONFIG", "SKERRY_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["status"], 1, "no skerry is ready on .skerry"),
        (["status", "--wait", "--timeout", "soon"], 2, "--timeout: 'soon' must be a duration"),
        (["get", "ef"], 2, "there is no kubeconfig at .skerry/kubeconfig: is `skerry up` running?"),
        (["get", "pods"], 2, "there is no kind 'pods'; known are namespaces, secrets"),
        (["get", "ef", "-o", "xml"], 2, "--output: 'xml' is not one of table, wide, yaml, json, name"),
        (["delete"], 2, "name a kind and its objects, or give --filename"),
        (["apply", "-f", "absent.yaml"], 2, "there is no file or folder absent.yaml"),
        (["deploy", "absent"], 2, "absent is not a folder"),
        (["certificate", "create", "a", "--kubeconfig-out", "k"], 2, "there is no kubeconfig at .skerry/kubeconfig"),
        (["token", "create", "a"], 2, "there is no kubeconfig at .skerry/kubeconfig"),
        (["token", "revoke", "a"], 2, "there is no kubeconfig at .skerry/kubeconfig"),
        (["plugin", "ls"], 2, "there is no kubeconfig at .skerry/kubeconfig"),
        (["plugin", "test", "absent.wasm"], 2, "absent.wasm can't be read: No such file or directory"),
        (["agent", "--config", "absent.json", "status"], 2, "No such file or directory: the install command of a node"),
        (["plugin", "test", "/"], 2, "/ can't be read: Is a directory"),
        (["plugin", "test", "a.wasm", "--request", "GET"], 2, "--request: 'GET' must be like 'GET http://shop.test/"),
        (["plugin", "test", "a.wasm", "--request", "GET https://a.test/"], 2, "--request: 'GET https://a.test/' must"),
        (["plugin", "test", "a.wasm", "-H", "x"], 2, "--header: 'x' must be like 'name: value'"),
        (["plugin", "test", "a.wasm", "--data", "@absent"], 2, "--data: absent can't be read: No such file"),
        (["plugin", "test", "a.wasm", "--config", "{"], 2, "--config: no JSON: "),
        (["plugin", "test", "a.wasm", "--config", "[]"], 2, "--config: must be a JSON object"),
        (["plugin", "test", "a.wasm", "--env", "A"], 2, "--env: 'A' must be NAME=VALUE"),
        (["plugin", "test", "a.wasm", "--type", "udp"], 2, "--type: 'udp' is not one of http, network"),
        (["plugin", "test", "a.wasm", "--log-level", "loud"], 2, "--log-level: 'loud' is not one of trace, debug,"),
        (["up", "--workers", "0"], 2, "workers: must be between 1 and 256, not 0"),
        (["up", "--api-address", "nowhere"], 2, "--api-address: 'nowhere' does not fit: must be HOST:PORT"),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
):
    assert run(monkeypatch, *arguments) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        *("", "up", "status", "logs", "deploy", "apply", "get", "delete", "version", "config"),
        *("token", "token create", "token list", "token revoke", "certificate", "certificate create"),
        *("plugin", "plugin test", "plugin ls"),
    ],
)
def test_every_command_teaches_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
):
    assert run(monkeypatch, *command.split(), "--help") == 0
    assert "Usage" in capsys.readouterr().out


def test_config_prints_what_would_be_used(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SKERRY_WORKERS", "3")
    assert run(monkeypatch, "config", "--data-dir", "elsewhere") == 0
    printed = capsys.readouterr().out
    assert "workers = 3\n" in printed
    assert "data_dir = elsewhere\n" in printed


def test_help_names_arguments_in_capitals_and_flags_without_a_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "150")
    told = {}
    for command in ("logs", "get", "init", "delete"):
        assert run(monkeypatch, command, "--help") == 0
        told[command] = capsys.readouterr().out
    assert "skerry logs [OPTIONS] {FUNCTION}" in told["logs"]
    assert "skerry get [OPTIONS] {KIND} [NAME]" in told["get"]
    assert "skerry init [OPTIONS] [DIR]" in told["init"]
    assert "skerry delete [OPTIONS] [KIND] [NAME]..." in told["delete"]
    assert all("<bool>" not in text and "[[" not in text for text in told.values())


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_objects_are_printed_as_they_are_and_begin_with_what_they_are(capsys: pytest.CaptureFixture[str], output: str):
    document = {
        "metadata": {"name": "c", "managedFields": [{"manager": "kubectl"}], "annotations": {"a": "b " * 200}},
        "data": {"f:x": {"f:key:": ":smile: [bold]"}},
        "kind": "ConfigMap",
        "apiVersion": "v1",
    }
    print_objects(CONFIG_MAP, [document], output, single=True)
    printed = yaml.safe_load(capsys.readouterr().out)
    assert list(printed) == ["apiVersion", "kind", "metadata", "data"]
    assert printed["data"] == document["data"]
    assert printed["metadata"] == {"name": "c", "annotations": {"a": "b " * 200}}
