"""Images and base images, through Dispatch's API, the command and kubectl, where functions are processes."""

import base64
import hashlib
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.cli.packing import packed
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

STATE_SECONDS_MAX = 90.0
SOURCE = "from sigil import NAME\ndef handle(context, payload):\n    return NAME\n"


@pytest.fixture(scope="module")
def http(skerry: SkerryProcess) -> Iterator[httpx.Client]:
    with skerry.api_client() as client:
        client.headers["x-dispatch-org"] = "default"
        yield client


def until(http: httpx.Client, path: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while (found := http.get(path).json())["status"] not in states:
        assert time.monotonic() < deadline, found
    return dict(found)


def wheel(folder: Path, text: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "sigil-1-py3-none-any.whl", "w") as archive:
        archive.writestr("sigil.py", text)
        archive.writestr("sigil-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: sigil\nVersion: 1\n")
        archive.writestr("sigil-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("sigil-1.dist-info/RECORD", "sigil.py,,\n")
    return f"{folder}/sigil-1-py3-none-any.whl\n"


def ask(http: httpx.Client, name: str) -> Any:
    answer = http.post(
        "/v1/runs", params={"functionName": name}, json={"blocking": True}, headers={"prefer": "wait=50"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json().get("output")


def test_a_function_has_the_packages_of_its_image_and_those_of_an_update(
    skerry: SkerryProcess, http: httpx.Client, tmp_path: Path
) -> None:
    manifest = tmp_path / "requirements.txt"
    manifest.write_text(wheel(tmp_path / "1", "NAME = 'direwolf'"))
    made = skerry.skerry("base-image", "create", "base", "r/python3:1", "-l", "python3")
    assert made == "Created base image: base\n"
    made = skerry.skerry("image", "create", "web", "base", "--runtime-deps", str(manifest))
    assert made == "Created image: web\n"
    body = {"name": "hello", "image": "web", "code": SOURCE, "main": "handle"}
    assert http.post("/v1/function", json=body).status_code == 201
    assert ask(http, "hello") == "direwolf"
    image = http.get("/v1/image/web").json()
    assert image["dockerUrl"].startswith("python3@sha256:")
    assert (image["language"], image["status"], image["baseImageName"]) == ("python3", "READY", "base")
    columns = skerry.kubectl("get", "images.dispatch.skerry.dev", "web").split()
    assert {"URL", "BASEIMAGE", "STATUS", "web", "base", "READY"} <= set(columns)
    change = {"name": "web", "baseImageName": "base"}
    newer = {"runtimeDependencies": {"manifest": wheel(tmp_path / "2", "NAME = 'lion'")}}
    assert http.put("/v1/image/web", json=change | newer).json()["status"] == "UPDATING"
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while (seen := ask(http, "hello")) != "lion":
        assert seen == "direwolf", "the old deployment serves until the new one does"
        assert time.monotonic() < deadline
    manifest.write_text("./no-such-package.whl\n")
    told = skerry.skerry("image", "create", "web", "base", "--runtime-deps", str(manifest), "--update", fails=True)
    assert "could not be installed" in told
    assert ask(http, "hello") == "lion"
    assert http.delete("/v1/image/web").status_code == 200
    assert ask(http, "hello") == "lion"


def test_the_api_answers_as_dispatch_does(http: httpx.Client) -> None:
    base = {"name": "b", "dockerUrl": "r/b:1", "language": "nodejs", "tags": [{"key": "Application", "value": "shop"}]}
    created = http.post("/v1/baseimage", json=base)
    assert (created.status_code, created.json()["status"], created.json()["kind"]) == (201, "INITIALIZED", "BaseImage")
    again = http.post("/v1/baseimage", json=base)
    assert (again.status_code, again.json()) == (409, {"code": 409, "message": "base image b already exists"})
    assert until(http, "/v1/baseimage/b", "READY")["dockerUrl"] == "r/b:1"
    image = http.post("/v1/image", json={"name": "i", "baseImageName": "b"})
    assert (image.status_code, image.json()["language"], image.json()["kind"]) == (201, "nodejs", "Image")
    assert until(http, "/v1/image/i", "READY")["dockerUrl"] == "nodejs"
    assert [each["name"] for each in http.get("/v1/image?language=nodejs").json()] == ["i"]
    assert http.get("/v1/image?language=java").json() == []
    assert [each["name"] for each in http.get("/v1/baseimage?tags=Application=shop").json()] == ["b"]
    assert http.get("/v1/baseimage?tags=shop").status_code == 400
    replaced = http.put("/v1/baseimage/b", json=base | {"language": "cobol"})
    assert (replaced.status_code, replaced.json()["status"]) == (200, "UPDATING")
    for path in ("/v1/image/i", "/v1/baseimage/b"):
        deleted = http.delete(path)
        assert (deleted.status_code, deleted.json()["status"]) == (200, "DELETING")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/image", {"name": "x", "baseImageName": "none"}, 400, "Error fetching base image none"),
        ("/v1/image", {"name": "x"}, 422, "baseImageName in body is required"),
        ("/v1/baseimage", {"name": "x", "language": "python3"}, 422, "dockerUrl in body is required"),
        ("/v1/baseimage", {"name": "x", "dockerUrl": "r/x"}, 422, "language in body is required"),
        ("/v1/baseimage", {"name": "-x", "dockerUrl": "r/x", "language": "a"}, 422, "name should start with letter"),
        ("/v1/baseimage", {"name": "x", "dockerUrl": "r/x\nRUN y", "language": "a"}, 400, "spec.dockerUrl"),
    ],
    ids=["no-base", "no-base-name", "no-url", "no-language", "name", "url"],
)
def test_bad_images_are_refused_and_nothing_is_stored(
    http: httpx.Client, path: str, body: dict[str, str], status: int, message: str
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text
    assert http.get(f"{path}/x").status_code == 404


def test_what_is_not_there_is_named_as_dispatch_names_it(http: httpx.Client) -> None:
    assert http.get("/v1/image/none").json() == {"code": 404, "message": "image none not found"}
    assert http.delete("/v1/baseimage/none").json() == {"code": 404, "message": "base image none not found"}


def test_a_source_that_was_uploaded_is_named_by_its_digest(http: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "f.py").write_text("def handle(context, payload):\n    return 1\n")
    archive = packed(tmp_path / "f")
    body = {"name": "first", "image": "python3", "handler": "f.handle"}
    source = {"source": base64.b64encode(archive).decode()}
    assert http.post("/v1/function", json=body | source).status_code == 201
    url = f"es://{hashlib.sha256(archive).hexdigest()}"
    assert http.post("/v1/function", json=body | {"name": "second", "sourceURL": url}).status_code == 201
    assert ask(http, "second") == 1
    refused = http.post("/v1/function", json=body | {"name": "third", "sourceURL": "https://example.com/f.tgz"})
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("Received non-supported source url https://example.com/f.tgz")
    neither = http.post("/v1/function", json=body | {"name": "third"})
    assert neither.json()["message"] == "either source or sourceURL must be specified"


def test_an_archive_that_leads_out_of_its_folder_is_told_and_the_function_is_not_run(http: httpx.Client) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../f.py"))
    body = {"name": "outside", "image": "python3", "source": base64.b64encode(content.getvalue()).decode()}
    assert http.post("/v1/function", json=body).status_code == 201
    assert "outside" in json.dumps(until(http, "/v1/function/outside", "ERROR")["reason"])
