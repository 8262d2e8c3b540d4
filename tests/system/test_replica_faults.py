"""What two replicas on one PostgreSQL promise while parts of them are killed, cut off, full or slow.

In each test writers and watchers at both replicas keep a ledger (`testing.ledger`). How long a fault was felt is a
property of the report, which is printed at the end of a run; no test asserts a time.
"""

import asyncio
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skerry.store.postgres.driver import open_postgres
from skerry.testing.cutting_proxy import CuttingProxy, Moment
from skerry.testing.leases import holder_of
from skerry.testing.ledger import Ledger
from skerry.testing.postgres_process import PostgresMissingError, PostgresProcess
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.slow_watcher import GoneError, SlowWatcher
from skerry.testing.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.timeout(600)
A, B = "a", "b"
Record = Callable[[str, object], None]
DATABASE = "replicas"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
LARGE = {"key": secrets.token_hex(100_000)}  # of which a database can't make less
#: Together more than what a replica keeps at hand for watchers (`LogSettings.recent_bytes_max`).
LARGE_NAME, LARGE_BYTES, LARGE_STATES = "large", 500_000, 80
LARGE_WATCH = f"{CONFIG_MAPS}?fieldSelector=metadata.name%3D{LARGE_NAME}"
SLOW_WATCHERS = 30
DISK_BYTES = 160 * 1024 * 1024


@dataclass(frozen=True)
class Cluster:
    """Two replicas, the second of which reaches the database through a proxy; its tables lie on a small disk."""

    postgres: PostgresProcess
    url: str
    proxy: CuttingProxy
    disk: SmallDisk
    replicas: dict[str, SkerryProcess]


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    with small_disk(DISK_BYTES) as disk:
        yield disk


@pytest.fixture(scope="module")
def cluster(disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        try:
            postgres = stack.enter_context(PostgresProcess.started())
        except PostgresMissingError as error:
            pytest.skip(str(error))
        make_database(postgres, disk)
        proxy = stack.enter_context(CuttingProxy.running(postgres.directory))
        urls = {A: postgres.url(DATABASE), B: f"postgresql://postgres@127.0.0.1:{proxy.port}/{DATABASE}"}
        replicas: dict[str, SkerryProcess] = {}
        for name, url in urls.items():
            if replicas:
                shutil.copytree(folder / A / "pki", folder / name / "pki")
                shutil.copy(folder / A / "kubeconfig", folder / name / "kubeconfig")
            started = SkerryProcess.started(folder / name, "--database", url, cache_dir=cache_dir, command="serve")
            replicas[name] = stack.enter_context(started)
        yield Cluster(postgres, urls[A], proxy, disk, replicas)


def make_database(postgres: PostgresProcess, disk: SmallDisk) -> None:
    """Make one whose tables lie on a disk; the server's journal lies elsewhere, for without that it stops."""
    tables = disk.directory / "tables"
    tables.mkdir()
    owner = postgres.directory.stat()
    os.chown(tables, owner.st_uid, owner.st_gid)
    postgres.execute(f"CREATE TABLESPACE small LOCATION '{tables}'")
    postgres.execute(f"CREATE DATABASE {DATABASE} TABLESPACE small")


def check(ledger: Ledger, replicas: dict[str, SkerryProcess]) -> None:
    """Every watcher saw what the database holds, once and in order; what was acknowledged is among it."""
    for replica in replicas.values():
        with replica.api_client() as client:
            items = client.get(ledger.path).json()["items"]
        listed = sorted((int(item["metadata"]["resourceVersion"]), item["metadata"]["name"]) for item in items)
        for view in ledger.views.values():
            assert view.seen == listed
    assert {(revision, name) for name, revision in ledger.acknowledged.items()} <= set(listed)


def tell(ledger: Ledger, record: Record, **seconds: float) -> None:
    """Put into the report how long a fault was felt, and what it cost."""
    for name, value in seconds.items():
        record(name, f"{value:.3f} s")
    record("writes acknowledged", len(ledger.acknowledged))
    record("refused", dict(ledger.refused))
    record("watches opened", sum(view.connections for view in ledger.views.values()))


async def test_kill_9_of_a_replica_under_load(cluster: Cluster, record_property: Record):
    dying = cluster.replicas[B]
    async with Ledger.kept(cluster.replicas, "replica-killed") as ledger:
        await ledger.writes(50)
        killed = time.monotonic()
        dying.kill()
        await ledger.writes(50)
        felt = ledger.longest_pause_seconds(killed)
        await asyncio.to_thread(dying.start)
        await ledger.writes(20, at=B)
        back = time.monotonic() - killed
        await ledger.writes(20)
    tell(ledger, record_property, no_write_acknowledged=felt, the_replica_serves_again=back)
    check(ledger, cluster.replicas)


async def test_kill_9_of_the_database_under_load(cluster: Cluster, record_property: Record):
    async with Ledger.kept(cluster.replicas, "database-killed") as ledger:
        await ledger.writes(50)
        killed = time.monotonic()
        cluster.postgres.kill()
        await asyncio.to_thread(cluster.postgres.start)
        started = time.monotonic() - killed
        for name in (A, B):
            await ledger.writes(30, at=name)
        felt = ledger.longest_pause_seconds(killed)
    tell(ledger, record_property, the_database_answers_again=started, no_write_acknowledged=felt)
    check(ledger, cluster.replicas)
    assert ledger.refused.keys() <= {"503"}, "who is refused is told that it is the database"


@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name.lower())
async def test_a_connection_that_is_cut_around_a_commit(cluster: Cluster, moment: Moment, record_property: Record):
    cut_before = len(cluster.proxy.cuts)
    name = f"cut-{moment.name.lower().replace('_', '-')}"
    async with Ledger.kept(cluster.replicas, name) as ledger, cluster.replicas[B].async_api_client() as client:
        await ledger.writes(20)
        cluster.proxy.cut(moment, name.encode() + b"-marked")
        cut = time.monotonic()
        answer = await client.post(ledger.path, json={"metadata": {"name": f"{name}-marked"}})
        felt = time.monotonic() - cut
        assert answer.status_code == 201, answer.text
        ledger.acknowledged[f"{name}-marked"] = int(answer.json()["metadata"]["resourceVersion"])
        await ledger.writes(20, at=B)
    assert cluster.proxy.cuts[cut_before:] == [moment]
    tell(ledger, record_property, the_write_took=felt)
    check(ledger, cluster.replicas)


async def test_a_full_disk_of_the_database(cluster: Cluster, record_property: Record):
    async with Ledger.kept(cluster.replicas, "disk-full") as ledger:
        await ledger.writes(50)
        cluster.disk.fill()
        try:
            await ledger.refusals(8, "507")
            promised = dict(ledger.acknowledged)
            for replica in cluster.replicas.values():
                async with replica.async_api_client() as client:
                    listed = (await client.get(ledger.path)).raise_for_status().json()["items"]
                    refused = await client.post(ledger.path, json={"metadata": {"name": "large"}, "data": LARGE})
                assert promised.keys() <= {item["metadata"]["name"] for item in listed}, "reads go on"
                assert (refused.status_code, refused.json()["reason"]) == (507, "InsufficientStorage")
                assert "disk of the database is full" in refused.json()["message"]
        finally:
            cluster.disk.make_room()
        roomy = time.monotonic()
        for name in (A, B):
            await ledger.writes(20, at=name)
        felt = ledger.longest_pause_seconds(roomy)
    tell(ledger, record_property, no_write_acknowledged=felt)
    check(ledger, cluster.replicas)
    assert ledger.refused.keys() == {"507"}


async def test_a_full_disk_of_sqlite(disk: SmallDisk, cache_dir: Path, record_property: Record):
    with SkerryProcess.started(disk.directory / "alone", cache_dir=cache_dir, command="serve") as alone:
        async with Ledger.kept({A: alone}, "disk-full") as ledger:
            await ledger.writes(50)
            disk.fill()
            try:
                await ledger.refusals(4, "507")
                promised = dict(ledger.acknowledged)
                async with alone.async_api_client() as client:
                    listed = (await client.get(ledger.path)).raise_for_status().json()["items"]
                assert promised.keys() <= {item["metadata"]["name"] for item in listed}, "reads go on"
                await asyncio.to_thread(alone.kill)
            finally:
                disk.make_room()
            roomy = time.monotonic()
            await asyncio.to_thread(alone.start)
            await ledger.writes(50)
            felt = ledger.longest_pause_seconds(roomy)
        tell(ledger, record_property, no_write_acknowledged=felt)
        check(ledger, {A: alone})


async def test_watchers_that_do_not_read_cost_bounded_memory_and_hurt_nobody(cluster: Cluster, record_property: Record):
    replica = cluster.replicas[B]
    async with replica.async_api_client() as client, Ledger.kept(cluster.replicas, "slow-watchers") as ledger:

        async def write(number: int) -> str:
            data = {"key": "x" * LARGE_BYTES, "value": str(number)}
            method, path = ("PUT", f"{CONFIG_MAPS}/{LARGE_NAME}") if number else ("POST", CONFIG_MAPS)
            answer = await client.request(method, path, json={"metadata": {"name": LARGE_NAME}, "data": data})
            return version_of(answer.raise_for_status().json())

        begin = await write(0)
        slow = await asyncio.to_thread(lambda: [SlowWatcher(replica, LARGE_WATCH, begin) for _ in range(SLOW_WATCHERS)])
        resident = resident_bytes(replica)
        versions = [await write(number) for number in range(1, LARGE_STATES + 1)]
        grown = resident_bytes(replica) - resident
        await ledger.writes(20, at=B)
        patient, late = slow[:2]
        told = await asyncio.to_thread(patient.read, lambda state: version_of(state) == versions[-1])
        assert [version_of(state) for state in told] == versions, "who reads again has missed nothing"
        # Another replica forgets the history that the late one has not read, and all others have.
        await ledger.told(int(versions[-1]))
        async with open_postgres(cluster.url) as driver:
            await driver.compact(int(versions[-1]))
        with pytest.raises(GoneError, match="410"):
            await asyncio.to_thread(late.read, lambda state: version_of(state) == versions[-1])
        late.position = version_of((await client.get(f"{CONFIG_MAPS}/{LARGE_NAME}")).json())
        await asyncio.to_thread(late.close)
        await asyncio.to_thread(late.open)
        newest = await write(LARGE_STATES + 1)
        told = await asyncio.to_thread(late.read, lambda state: version_of(state) == newest)
        assert [version_of(state) for state in told] == [newest]
        for watcher in slow:
            watcher.close()
    record_property("memory for slow watchers", f"{grown / 1024**2:.0f} MiB")
    tell(ledger, record_property)
    check(ledger, cluster.replicas)
    assert grown < SLOW_WATCHERS * LARGE_STATES * LARGE_BYTES / 4, "a queue for each of them would take four times that"


def version_of(document: Mapping[str, Any]) -> str:
    return str(document["metadata"]["resourceVersion"])


def resident_bytes(replica: SkerryProcess) -> int:
    assert replica.process is not None
    status = Path(f"/proc/{replica.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


def test_a_leader_that_stood_still_leads_no_more_and_whoever_leads_does_its_duties(
    cluster: Cluster, record_property: Record
):
    with ExitStack() as stack:
        clients = {name: stack.enter_context(replica.api_client()) for name, replica in cluster.replicas.items()}
        leader = holder_of(clients[A])
        still = next(replica for replica in cluster.replicas.values() if leader in replica.output())
        other = next(name for name, replica in cluster.replicas.items() if replica is not still)
        assert still.process is not None
        stopped = time.monotonic()
        still.process.send_signal(signal.SIGSTOP)
        try:
            successor = holder_of(clients[other], other_than=leader)
            record_property("another_leads_after", f"{time.monotonic() - stopped:.3f} s")
        finally:
            still.process.send_signal(signal.SIGCONT)
        still.until_printed("this replica leads no more", leader)
        for name, client in clients.items():
            assert holder_of(client) == successor
            answer = client.post("/api/v1/namespaces", json={"metadata": {"name": f"after-{name}"}})
            assert answer.status_code == 201, answer.text
            cluster.replicas[other].kubectl(
                "wait", "--for=create", "serviceaccount/default", "-n", f"after-{name}", "--timeout=60s"
            )
