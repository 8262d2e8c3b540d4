"""What a command is given that it can't use is one sentence and exit code 2, never a traceback."""

import base64
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from skerry.cli import app
from skerry.cli.reading import FILE_BYTES_MAX

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\n"


def kubeconfig(path: Path, *, authority: str = "", server: str = "https://127.0.0.1:1", token: str = "") -> Path:
    authority = authority or ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0])
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    document = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token or "t"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def said(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["skerry", *arguments])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe\0", "not UTF-8"),
        (b"kind: List", "items: must be a list"),
        (b"kind: List\nitems: [1]", "must be an object"),
        (b"[" * 5000, "nested too deep"),
        (b"{{}: 1}", "not valid YAML"),
        (CONFIG_MAP.encode() + b"metadata: {name: 5}", "metadata.name: must be text"),
        (CONFIG_MAP.encode() + b"metadata: {name: a, namespace: 5}", "metadata.namespace: must be text"),
        (CONFIG_MAP.encode() + b"metadata: {name: a, annotations: [1]}", "metadata.annotations: must be an object"),
    ],
    ids=["bytes", "no items", "items", "deep", "key", "name", "namespace", "annotations"],
)
def test_a_manifest_that_can_not_be_one_is_told(
    content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    arguments = ["apply", "-f", str(tmp_path / "a.yaml"), "--kubeconfig", str(kubeconfig(tmp_path / "k"))]
    assert told in said(arguments, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"authority": "x"}, "authority"), ({"server": ":::"}, "server"), ({"token": "t\n"}, "the token is none")],
    ids=["authority", "server", "token"],
)
def test_a_kubeconfig_that_can_not_be_used_is_told(
    wrong: dict[str, str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = kubeconfig(tmp_path / "k", **wrong)
    assert told in said(["get", "cm", "--kubeconfig", str(place)], monkeypatch, capsys)


def test_what_is_in_a_damaged_kubeconfig_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = kubeconfig(tmp_path / "k", token="hidden")
    place.write_bytes(place.read_bytes() + b"\xff")
    told = said(["get", "cm", "--kubeconfig", str(place)], monkeypatch, capsys)
    assert "not UTF-8" in told
    assert "hidden" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["invoke", "f", "-X", "G\u00c9T"], "--method"),
        (["invoke", "f", "--path", "/\x01"], "--path"),
        (["token", "create", "u", "--expires", "99999999h"], "--expires"),
        (["token", "create", "u", "--expires", "99999999999999h"], "--expires"),
        (["token", "create", "u", "--expires", "soon"], "--expires"),
        (["function", "delete", ""], "a name is empty"),
        (["node", "metrics", ""], "a name is empty"),
        (["event", "emit", "t", "--data-from-file", "BYTES"], "--data-from-file"),
        (["function", "create", "f", "BYTES", "--schema-in", "FOLDER"], "--schema-in"),
        (["secret", "create", "s", "FOLDER"], "FILE"),
        (["image", "create", "i", "b", "--runtime-deps", "BYTES"], "--runtime-deps"),
        (["invoke", "f", "--data", "@FOLDER"], "--data"),
        (["apply", "-f", "n" * 5000], "can't be read"),
        (["get", "cm", "--data-dir", "n" * 5000], "can't be read"),
    ],
)
def test_a_flag_that_can_not_be_used_is_told(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\0")
    places = {"BYTES": str(tmp_path / "bytes"), "FOLDER": str(tmp_path), "@FOLDER": f"@{tmp_path}"}
    given = [places.get(argument, argument) for argument in arguments]
    access = [] if "--data-dir" in arguments else ["--kubeconfig", str(kubeconfig(tmp_path / "k"))]
    assert told in said([*given, *access], monkeypatch, capsys)


@pytest.mark.parametrize("name", ["secret", "function"])
def test_a_file_that_is_too_large_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "large"
    with place.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    access = ["--kubeconfig", str(kubeconfig(tmp_path / "k"))]
    arguments = {
        "secret": ["secret", "create", "s", str(place)],
        "function": ["function", "create", "f", str(tmp_path / "k"), "--schema-in", str(place)],
    }
    assert f"larger than {FILE_BYTES_MAX} bytes" in said([*arguments[name], *access], monkeypatch, capsys)
