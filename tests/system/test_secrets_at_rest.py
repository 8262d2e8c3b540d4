"""Secrets on disk: never in plain text, in whatever way they come; readable through rotations and `kill -9`."""

import base64
import itertools
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.cli.connection import read_access
from skerry.store.log import open_log
from skerry.store.records import Key
from skerry.store.sqlite import open_sqlite
from skerry.testing.skerry_process import CommandFailedError, SkerryProcess

SECRETS = "/api/v1/namespaces/default/secrets"
CANARY = "c4n4ry-of-the-coal-mine"
#: Twice, because Apoxy's passwordData is base64 of base64.
ENCODED = base64.b64encode(CANARY.encode()).decode()
FORMS = [form.encode() for form in (CANARY, ENCODED, base64.b64encode(ENCODED.encode()).decode())]

FUNCTION = f"""
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {{name: filter}}
spec:
  template:
    mode: filter
    code:
      goPluginSource:
        oci: {{repo: ghcr.io/acme/plugin, credentials: {{username: ci, password: {CANARY}}}}}
"""


def secret(name: str, value: Any) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": value}}
    )


def leaks(directory: Path) -> list[str]:
    """Return the files below a directory (and beside it) that hold the canary in any form."""
    files = [path for path in (*files_below(directory), *directory.parent.glob("*.output")) if path.is_file()]
    assert len(files) > 5
    return [str(path) for path in files if any(form in content_of(path) for form in FORMS)]


def files_below(directory: Path) -> list[Path]:
    """List what lies below a directory; where a folder in it goes meanwhile, what is there then."""
    while True:
        with suppress(FileNotFoundError):
            return list(directory.rglob("*"))


def content_of(path: Path) -> bytes:
    """Read a file; one that was removed since it was listed has nothing left to tell."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@contextmanager
def client(skerry: SkerryProcess) -> Iterator[httpx.Client]:
    """A client of the API, as the administrator."""
    access = read_access(skerry.data_dir / "kubeconfig")
    trust = ssl.create_default_context(cadata=access.ca_pem)
    headers = {"Authorization": f"Bearer {access.token}"}
    with httpx.Client(base_url=access.server, verify=trust, trust_env=False, headers=headers, timeout=60.0) as http:
        yield http


def test_no_file_ever_holds_a_secret(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", "--log-level", "DEBUG", cache_dir=cache_dir) as skerry:
        kubectl = skerry.kubectl
        kubectl("create", "secret", "generic", "created", f"--from-literal=password={CANARY}")
        kubectl("apply", "-f", "-", stdin=secret("applied", CANARY))
        assert "last-applied" in kubectl("get", "secret", "applied", "-o", "json")
        kubectl("apply", "--server-side", "-f", "-", stdin=secret("shared", CANARY))
        kubectl("patch", "secret", "created", "-p", json.dumps({"stringData": {"other": CANARY}}))
        kubectl("patch", "secret", "applied", "--type=merge", "-p", json.dumps({"data": {"other": ENCODED}}))
        operations = [{"op": "add", "path": "/data/third", "value": ENCODED}]
        kubectl("patch", "secret", "applied", "--type=json", "-p", json.dumps(operations))
        kubectl("replace", "-f", "-", stdin=secret("shared", CANARY + "2"))
        kubectl("create", "--dry-run=server", "-f", "-", stdin=secret("dry", CANARY))
        kubectl("apply", "-f", "-", stdin=FUNCTION)
        wrong = json.dumps([{"op": "test", "path": "/data/password", "value": CANARY}])
        told = kubectl("patch", "secret", "created", "--type=json", "-p", wrong, fails=True)
        told += kubectl("create", "-f", "-", stdin=secret("created", CANARY), fails=True)
        told += kubectl("create", "-f", "-", stdin=secret("not a name", CANARY), fails=True)
        told += kubectl("create", "--validate=false", "-f", "-", stdin=secret("bad", [CANARY]), fails=True)
        told += kubectl("get", "secrets") + kubectl("describe", "secret", "created") + kubectl("get", "events")
        told += kubectl("get", "--raw", "/metrics") + kubectl("get", "edgefunctions")
        assert not any(form.decode() in told for form in FORMS)
        assert leaks(tmp_path / "data") == []
        kubectl("delete", "secret", "created")
        skerry.skerry("secrets", "rotate")
        assert ENCODED in kubectl("get", "secret", "applied", "-o", "json")
        assert leaks(tmp_path / "data") == []
        skerry.kill()
        assert leaks(tmp_path / "data") == []
        skerry.start()
        assert ENCODED in kubectl("get", "secret", "applied", "-o", "json")
        assert skerry.stop() == 0
        assert leaks(tmp_path / "data") == []


def key_ids(skerry: SkerryProcess) -> list[str]:
    return [line.split()[0] for line in skerry.skerry("secrets", "status").splitlines() if line.startswith("local:")]


class Load:
    """Writers that change a secret each until the server is gone, and what was acknowledged to them."""

    def __init__(self, skerry: SkerryProcess, writers: int) -> None:
        self.acknowledged = dict.fromkeys(range(writers), 0)
        self.changed = threading.Event()
        self._skerry = skerry
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _write(self, number: int) -> None:
        with client(self._skerry) as http:
            for count in itertools.count(self.acknowledged[number] + 1):
                body = {"stringData": {"count": str(count)}}
                headers = {"Content-Type": "application/merge-patch+json"}
                try:
                    answer = http.patch(f"{SECRETS}/w{number}", json=body, headers=headers)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200, answer.text
                self.acknowledged[number] = count
                self.changed.set()


def count_in(document: dict[str, Any]) -> int:
    return int(base64.b64decode(document["data"]["count"]))


def test_a_rotation_under_load_survives_kill_9_at_any_moment(tmp_path: Path, cache_dir: Path):
    writers, large = 4, 120
    value = base64.b64encode(b"x" * 60_000).decode()
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir, command="serve") as skerry:
        with client(skerry) as http:
            for number in range(large):
                document = {"metadata": {"name": f"large{number}"}, "data": {"value": value}}
                assert http.post(SECRETS, json=document).status_code == 201
            for number in range(writers):
                document = {"metadata": {"name": f"w{number}"}, "stringData": {"count": "0"}}
                assert http.post(SECRETS, json=document).status_code == 201
        made: list[str] = []
        for moment in ("begun", "under way", "ended"):
            load = Load(skerry, writers)
            with client(skerry) as http:
                before = {n: count_in(http.get(f"{SECRETS}/w{n}").json()) for n in range(writers)}
                load.acknowledged |= before
                load.start()
                assert load.changed.wait(60)
                made.append(http.post("/encryption/rotate").json()["key"])
                while moment != "begun":
                    keys = http.get("/encryption").json()["keys"]
                    newest = next(key for key in keys if key["state"] == "newest")
                    if (moment == "under way" and newest["objects"]) or len(keys) == 1:
                        break
            skerry.kill()
            load.end()
            skerry.start()
            with client(skerry) as http:
                for number, count in load.acknowledged.items():
                    # What was not acknowledged any more may have been written all the same.
                    assert count <= count_in(http.get(f"{SECRETS}/w{number}").json()) <= count + 1
                items = http.get(SECRETS).json()["items"]
            assert len(items) == large + writers
            assert all(item["data"]["value"] == value for item in items if item["metadata"]["name"].startswith("large"))
        skerry.skerry("secrets", "rotate")
        [last] = key_ids(skerry)
        assert last not in made
        stored = json.loads((tmp_path / "data" / "pki" / "encryption-keys.json").read_bytes())
        assert [key["id"] for key in stored["keys"]] == [last]


def test_a_rotation_is_not_seen_by_a_watcher(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir, command="serve") as skerry:
        skerry.kubectl("create", "-f", "-", stdin=secret("a", "1"))
        before = skerry.kubectl("get", "secret", "a", "-o", "json")
        with client(skerry) as http:
            version = http.get(SECRETS).json()["metadata"]["resourceVersion"]
            query = {"watch": "true", "resourceVersion": version}
            with http.stream("GET", SECRETS, params=query) as watch:
                lines = watch.iter_lines()
                skerry.skerry("secrets", "rotate")
                skerry.kubectl("create", "-f", "-", stdin=secret("b", "1"))
                event = json.loads(next(lines))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")
        assert skerry.kubectl("get", "secret", "a", "-o", "json") == before


def test_lost_keys_are_a_clear_error_and_a_choice(tmp_path: Path, cache_dir: Path):
    data_dir = tmp_path / "data"
    keys = data_dir / "pki" / "encryption-keys.json"
    with SkerryProcess.started(data_dir, cache_dir=cache_dir, command="serve") as skerry:
        skerry.kubectl("create", "-f", "-", stdin=secret("lost", CANARY))
        skerry.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        assert "give --yes" in skerry.skerry("secrets", "discard", fails=True)
        assert "another skerry runs" in skerry.skerry("secrets", "discard", "--yes", fails=True)
        assert skerry.stop() == 0
        keys.rename(tmp_path / "backup.json")
        with pytest.raises(CommandFailedError, match="1 stored values can't be decrypted") as caught:
            skerry.start()
        assert "secrets default/lost can't be decrypted: key \"local:" in str(caught.value)
        assert not keys.exists()
        skerry.process = None
        assert "deleted secrets default/lost" in skerry.skerry("secrets", "discard", "--yes")
        skerry.start()
        assert "not found" in skerry.kubectl("get", "secret", "lost", fails=True)
        assert "kept" in skerry.kubectl("get", "configmaps")


async def plain_secret(database: Path) -> None:
    """Write a secret as a Skerry from before would have."""
    metadata = {"name": "old", "namespace": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    document = {"metadata": metadata, "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"a": ENCODED}}
    async with open_sqlite(database) as driver, open_log(driver) as log:
        await log.put(
            Key("secrets", "default", "old"), json.dumps(document, separators=(",", ":")).encode(), expected_revision=0
        )


async def test_a_data_directory_from_before_is_read_and_sealed_by_a_rotation(tmp_path: Path, cache_dir: Path):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    await plain_secret(data_dir / "skerry.db")
    with SkerryProcess.started(data_dir, cache_dir=cache_dir, command="serve") as skerry:
        assert ENCODED in skerry.kubectl("get", "secret", "old", "-o", "json")
        assert "(plain text)" in skerry.skerry("secrets", "status")
        assert "stored in plain text: run `skerry secrets rotate`" in skerry.output()
        assert str(data_dir / "skerry.db") in leaks(data_dir)  # so the walk does find it where it is
        skerry.skerry("secrets", "rotate")
        assert "(plain text)" not in skerry.skerry("secrets", "status")
        assert ENCODED in skerry.kubectl("get", "secret", "old", "-o", "json")
        assert skerry.stop() == 0
        assert leaks(data_dir) == []
