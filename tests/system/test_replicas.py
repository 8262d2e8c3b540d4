"""Two control planes on one PostgreSQL: each answers everything, one leads, and the death of it loses nothing."""

import base64
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import pytest

from skerry.testing.leases import holder_of
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.skerry_process import SkerryProcess

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
REVISIONS = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctionrevisions"
FUNCTIONS = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions"
STATE_SECONDS_MAX = 120.0
LAST = "last"


@pytest.fixture
def replicas(
    tmp_path: Path, cache_dir: Path, postgres: PostgresProcess
) -> Iterator[tuple[SkerryProcess, SkerryProcess]]:
    """Two replicas; the first one leads."""
    database = ("--database", postgres.create_schema())
    with SkerryProcess.started(tmp_path / "a", *database, cache_dir=cache_dir, command="serve") as first:
        with first.api_client() as client:
            holder_of(client)
        shutil.copytree(tmp_path / "a" / "pki", tmp_path / "b" / "pki")
        shutil.copy(tmp_path / "a" / "kubeconfig", tmp_path / "b" / "kubeconfig")
        with SkerryProcess.started(tmp_path / "b", *database, cache_dir=cache_dir, command="serve") as second:
            yield first, second


@dataclass
class Watcher:
    """Watches ConfigMaps at one replica, goes on at the next where it dies, and keeps what it was told."""

    clients: list[httpx.Client]
    position: str
    seen: list[tuple[int, str]] = field(default_factory=list)
    watching: threading.Event = field(default_factory=threading.Event)

    def run(self) -> list[tuple[int, str]]:
        for client in self.clients:
            try:
                if self._follow(client):
                    return self.seen
            except httpx.TransportError:
                continue  # as any client does: on from the last revision it knows
        raise AssertionError("every replica ended the watch")

    def _follow(self, client: httpx.Client) -> bool:
        query = {"watch": "1", "resourceVersion": self.position, "allowWatchBookmarks": "true"}
        with client.stream("GET", CONFIG_MAPS, params=query) as answer:
            self.watching.set()
            for line in answer.iter_lines():
                event = orjson.loads(line)
                assert event["type"] in {"ADDED", "BOOKMARK"}, event
                metadata = event["object"]["metadata"]
                self.position = metadata["resourceVersion"]
                if event["type"] == "ADDED":
                    self.seen.append((int(self.position), metadata["name"]))
                    if metadata["name"] == LAST:
                        return True
        return False


def create(client: httpx.Client, name: str) -> int:
    answer = client.post(CONFIG_MAPS, json={"metadata": {"name": name}})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["metadata"]["resourceVersion"])


def build(client: httpx.Client, name: str) -> str:
    """Have a function of JavaScript built, and return the digest of its code."""
    files = [{"path": "index.js", "content": f'export default {{ fetch: () => new Response("{name}") }};'}]
    code = {"jsSource": {"entrypoint": "index.js", "assets": {"files": files}}}
    answer = client.post(FUNCTIONS, json={"metadata": {"name": name}, "spec": {"template": {"code": code}}})
    assert answer.status_code == 201, answer.text
    with client.stream("GET", REVISIONS, params={"watch": "1"}) as events:
        for line in events.iter_lines():
            revision = orjson.loads(line)["object"]
            owners = {owner["name"] for owner in revision["metadata"].get("ownerReferences", ())}
            if name in owners and (artifact := revision.get("status", {}).get("artifact")):
                return str(artifact["digest"])
    raise AssertionError("nothing was built")


def upload(client: httpx.Client, name: str) -> str:
    """Upload a function's archive, and return its digest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = b"def handle(context, payload):\n    return payload\n"
        entry = tarfile.TarInfo("handler.py")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    body = {"name": name, "image": "python3", "handler": "handler.handle"}
    body["source"] = base64.b64encode(packed.getvalue()).decode()
    answer = client.post("/v1/function", json=body, headers={"x-dispatch-org": "default"})
    assert answer.status_code == 201, answer.text
    return f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}"


def assert_served(client: httpx.Client, digests: list[str]) -> None:
    for digest in digests:
        answer = client.get(f"/artifacts/{digest}")
        assert answer.status_code == 200, answer.text
        assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == digest


def read_by_turns(at_first: httpx.Client, at_second: httpx.Client) -> None:
    """Write at one replica, list at both: the version never falls, and what was written is there."""
    seen = 0
    for number in range(10):
        written = create(at_first, f"turn-{number}")
        for client in (at_second, at_first, at_second):
            listed = client.get(CONFIG_MAPS).json()
            assert int(listed["metadata"]["resourceVersion"]) >= max(seen, written)
            seen = int(listed["metadata"]["resourceVersion"])
            names = [item["metadata"]["name"] for item in listed["items"]]
            assert len([name for name in names if name.startswith("turn-")]) == number + 1


def write_until_it_dies(client: httpx.Client, ledger: dict[str, int], replica: SkerryProcess) -> None:
    """Create objects at a replica, note which it acknowledged, and kill it in the middle."""
    with ThreadPoolExecutor(1) as killer:
        for number in range(100_000):
            name = f"a-{number}"
            try:
                ledger[name] = create(client, name)
            except httpx.TransportError:
                return
            if number == 50:
                killer.submit(replica.kill)
    raise AssertionError("the replica outlived its SIGKILL")


@pytest.mark.timeout(600)
def test_the_death_of_the_leader_loses_no_acknowledged_write_no_event_and_no_code_and_the_other_leads(
    replicas: tuple[SkerryProcess, SkerryProcess],
):
    first, second = replicas
    ledger: dict[str, int] = {}
    with first.api_client() as at_first, second.api_client() as at_second, ThreadPoolExecutor(2) as threads:
        leader = holder_of(at_second)
        read_by_turns(at_first, at_second)
        digests = [build(at_first, "built"), upload(at_first, "uploaded")]
        assert_served(at_second, digests[:1])
        assert_served(at_first, [upload(at_second, "elsewhere")])
        revision = create(at_first, "begin")
        assert at_second.get(f"{CONFIG_MAPS}/begin").json()["metadata"]["resourceVersion"] == str(revision)
        watchers = [Watcher([at_second], str(revision)), Watcher([at_first, at_second], str(revision))]
        watching = [threads.submit(watcher.run) for watcher in watchers]
        for watcher in watchers:
            assert watcher.watching.wait(STATE_SECONDS_MAX)

        write_until_it_dies(at_first, ledger, first)
        for number in range(20):
            ledger[f"b-{number}"] = create(at_second, f"b-{number}")
        ledger[LAST] = create(at_second, LAST)

        seen, resumed = (task.result(STATE_SECONDS_MAX) for task in watching)
        assert seen == resumed
        assert [revision for revision, _ in seen] == sorted({revision for revision, _ in seen})
        assert len({name for _, name in seen}) == len(seen)
        assert {(revision, name) for name, revision in ledger.items()} <= set(seen)
        listed = at_second.get(CONFIG_MAPS).json()["items"]
        assert ledger.keys() <= {item["metadata"]["name"] for item in listed}

        assert_served(at_second, digests)
        assert holder_of(at_second, other_than=leader)
        second.kubectl("create", "namespace", "after")
        second.kubectl("wait", "--for=create", "serviceaccount/default", "-n", "after", "--timeout=60s")
