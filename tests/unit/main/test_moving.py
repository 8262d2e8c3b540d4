"""What `skerry store` promises of a whole installation: its log, its secrets, its artifacts."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from skerry.artifacts.folder import FolderKeep
from skerry.engine.key_value_file import KeyValueStore
from skerry.engine.key_values import Value
from skerry.kit.clock import SystemClock
from skerry.kit.errors import ConfigurationError
from skerry.main.data_dir import DataDir
from skerry.main.moving import Installation, Options, back_up, check, check_file, copy, installation, restore
from skerry.store.errors import Compacted, NamespaceFull
from skerry.store.moving.errors import MovingError
from skerry.store.postgres.entries import EntryKey, EntryValue, open_entries
from skerry.store.records import EVERYTHING, Key, Write
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.sealed import open_sealed
from skerry.store.sqlite import open_sqlite
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.s3_process import BUCKET, CREDENTIALS, S3MissingError, S3Process

#: Brings a copy to its end, but for the SIGKILL that comes when it is halfway.
DIES_HALFWAY = """
import asyncio, os, signal, sys
from skerry.main.data_dir import DataDir
from skerry.main.moving import Options, copy, installation
from skerry.store.moving import postgres, sqlite
sqlite.BATCH_CHANGES = postgres.BATCH_CHANGES = 5

def die_halfway(stage, done, total):
    if done * 2 > total:
        os.kill(os.getpid(), signal.SIGKILL)

places = [installation(address, None) for address in sys.argv[1:]]
asyncio.run(copy(*places, Options(artifacts=False), die_halfway))
"""


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Hear of nothing."""


def plugin(name: str, digest: str) -> bytes:
    """Return a stored WasmPlugin whose code is kept."""
    code = {
        "digest": digest,
        "sizeBytes": 4,
        "url": "https://localhost/a",
        "source": "a",
        "pulledFor": "a",
        "resolvedAt": "2026-01-01T00:00:00Z",
    }
    metadata = {"name": name, "namespace": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    head = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": metadata}
    return orjson.dumps({**head, "spec": {"url": "https://localhost/a"}, "status": {"code": code}})


def secret(name: str) -> bytes:
    metadata = {"name": name, "namespace": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return orjson.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": "Z2VoZWlt"}})


@pytest.fixture
async def source(tmp_path: Path) -> Installation:
    """A SQLite file with a secret, and with a plugin whose code is kept beside it."""
    root = tmp_path / "source"
    root.mkdir()
    async with FolderKeep(root / "artifacts") as keep:
        digest = await keep.put(b"code")
    async with open_sqlite(root / "skerry.db") as held:
        keys = LocalKeys(root / "pki" / "encryption-keys.json", SystemClock())
        driver = (await open_sealed(held, keys, {"secrets"}.__contains__)).driver
        await driver.append(Write(Key("secrets", "default", "db"), secret("db"), 0))
        name = Key("wasmplugins.extensions.istio.io", "default", "auth")
        await driver.append(Write(name, plugin("auth", str(digest)), 0))
        kept = KeyValueStore(DataDir(root).key_values, SystemClock())
        for number in range(5):
            kept.put(f"function-{number % 2}", f"key-{number}", Value(bytes(number), '{"a":1}' if number else None))
        kept.close()
        for number in range(20):
            await driver.append(Write(Key("installation", "", f"a-{number}"), b"{}", 0))
    return place(root)


def place(root: Path) -> Installation:
    return installation(f"sqlite://{root / 'skerry.db'}", None)


def entries_of(root: Path) -> list[tuple[str, bytes, str | None]]:
    kept = KeyValueStore(DataDir(root).key_values, SystemClock())
    try:
        return [
            (one.key, *(kept.get(namespace, one.key) or ()))
            for namespace in ("function-0", "function-1")
            for one in kept.list(namespace)
        ]
    finally:
        kept.close()


async def faults(of: Installation) -> list[str]:
    return (await check(of, Options(), quiet)).report.faults


async def test_a_copy_holds_the_log_the_secrets_as_they_are_encrypted_and_the_artifacts(
    source: Installation, tmp_path: Path, postgres: PostgresProcess
):
    url = postgres.create_schema()
    there = await copy(source, installation(url, None), Options(), quiet)
    assert (await check(installation(url, None), Options(), quiet)).report.faults == []
    back = await copy(installation(url, None), place(tmp_path / "back"), Options(), quiet)
    assert there.log.digest == back.log.digest
    assert there.artifacts == back.artifacts == 1
    assert there.key_values == back.key_values == 5
    assert entries_of(tmp_path / "back") == entries_of(tmp_path / "source") != []
    async with open_entries(url) as entries:  # where the database knows how much each function holds
        with pytest.raises(NamespaceFull) as full:
            await entries.put(EntryKey("function-0", b"more"), EntryValue(b"1", None), None, bytes_max=1)
    assert full.value.held_bytes == sum(len("key-0") + number + (7 if number else 0) for number in (0, 2, 4)) + 5
    (key_id,) = back.log.key_ids
    assert key_id.startswith("local:")
    checked = await check(place(tmp_path / "back"), Options(), quiet)
    assert (checked.report.faults, checked.closed) == ([], 1)  # its keys did not go along
    assert b"Z2VoZWlt" not in (tmp_path / "back" / "skerry.db").read_bytes()
    keys = tmp_path / "source" / "pki" / "encryption-keys.json"
    (tmp_path / "back" / "pki").mkdir()
    (tmp_path / "back" / "pki" / "encryption-keys.json").write_bytes(keys.read_bytes())
    checked = await check(place(tmp_path / "back"), Options(), quiet)
    assert (checked.report.faults, checked.closed) == ([], 0)


async def test_a_copy_that_is_killed_halfway_goes_on_and_ends_the_same(
    source: Installation, tmp_path: Path, postgres: PostgresProcess
):
    target = installation(postgres.create_schema(), None)
    command = [sys.executable, "-c", DIES_HALFWAY, source.database.name, target.database.name]
    died = await asyncio.create_subprocess_exec(*command)
    assert await died.wait() == -signal.SIGKILL
    with pytest.raises(MovingError, match="half of a copy"):
        await copy(target, place(tmp_path / "further"), Options(artifacts=False), quiet)
    arrived = await copy(source, target, Options(artifacts=False), quiet)
    assert arrived.log.resumed_after > 0
    digests = [(await check(of, Options(artifacts=False), quiet)).report.digest for of in (source, target)]
    assert digests == [arrived.log.digest] * 2


async def test_a_backup_is_taken_while_the_log_is_open_and_restored_elsewhere(source: Installation, tmp_path: Path):
    file, target = tmp_path / "backup", place(tmp_path / "there")
    async with open_sqlite(tmp_path / "source" / "skerry.db"):
        written = await back_up(source, file, Options(), quiet)
    assert written.artifacts == 1
    assert b"Z2VoZWlt" not in file.read_bytes()
    assert (await check_file(file, tmp_path / "source", quiet)).report.faults == []
    arrived = await restore(file, target, Options(), quiet)
    assert (arrived.log.digest, arrived.artifacts, arrived.key_values) == (written.digest, 1, 5)
    assert entries_of(tmp_path / "there") == entries_of(tmp_path / "source")
    assert await faults(target) == []


async def test_a_restore_that_skips_revisions_answers_no_older_one(source: Installation, tmp_path: Path):
    await back_up(source, tmp_path / "backup", Options(artifacts=False), quiet)
    await restore(tmp_path / "backup", place(tmp_path), Options(artifacts=False, skip_revisions=1000), quiet)
    assert (await check(place(tmp_path), Options(artifacts=False), quiet)).report.faults == []
    async with open_sqlite(tmp_path / "skerry.db") as driver:
        assert await driver.append(Write(Key("installation", "", "new"), b"{}", 0)) == 22 + 1000 + 1
        with pytest.raises(Compacted):
            await driver.events_after(22, EVERYTHING, limit=1)
        assert await driver.get(Key("installation", "", "a-1")) is not None


async def test_a_backup_without_artifacts_brings_none(source: Installation, tmp_path: Path):
    file, target = tmp_path / "backup", place(tmp_path / "there")
    await back_up(source, file, Options(artifacts=False), quiet)
    arrived = await restore(file, target, Options(), quiet)
    assert arrived.artifacts is None
    (fault,) = await faults(target)
    assert fault.endswith("is named by an object, and not kept")


async def test_a_check_tells_of_artifacts_that_are_damaged_and_copies_refuse_them(source: Installation, tmp_path: Path):
    (file,) = (tmp_path / "source" / "artifacts" / "sha256").glob("*/*")
    file.write_bytes(b"c0de")
    (fault,) = await faults(source)
    assert "is damaged" in fault
    with pytest.raises(MovingError, match="is damaged"):
        await back_up(source, tmp_path / "backup", Options(), quiet)
    with pytest.raises(MovingError, match="is damaged"):
        await copy(source, place(tmp_path / "there"), Options(), quiet)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (Key("configmaps", "default", "a"), b"{broken", "it is no JSON"),
        (Key("configmaps", "default", "a"), b"\0\1\2", "it is neither JSON nor sealed"),
        (Key("configmaps", "default", "a"), b'{"metadata":{"name":1}}', "it is no ConfigMap: "),
        (Key("configmaps", "default", "a"), b'{"metadata":{"name":"b","namespace":"default"}}', "it holds default/b"),
    ],
)
async def test_a_check_tells_of_values_that_cannot_be_read(tmp_path: Path, key: Key, value: bytes, expected: str):
    async with open_sqlite(tmp_path / "skerry.db") as driver:
        await driver.append(Write(key, value, 0))
    (fault,) = await faults(place(tmp_path))
    assert fault.startswith(f"value: {key}, revision 1: {expected}")


async def test_a_check_tells_of_secrets_that_the_keys_do_not_open_and_never_what_they_hold(
    source: Installation, tmp_path: Path
):
    keys = LocalKeys(tmp_path / "source" / "pki" / "encryption-keys.json", SystemClock())
    await keys.remove([keys.known_keys()[0].id])
    await keys.add()
    (fault,) = await faults(source)
    assert "secrets default/db" in fault
    assert "is missing in encryption-keys.json" in fault


async def test_a_copy_onto_itself_is_refused_at_once(source: Installation):
    with pytest.raises(ConfigurationError, match="the same database"):
        await copy(source, source, Options(), quiet)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Process]:
    try:
        with S3Process.started(tmp_path_factory.mktemp("s3")) as running:
            yield running
    except S3MissingError as error:
        pytest.skip(str(error))


def with_bucket(root: Path, s3: S3Process, prefix: str) -> Installation:
    """Return an installation whose settings name a bucket."""
    root.mkdir()
    (root / "credentials").write_text(":".join(CREDENTIALS))
    (root / "skerry.toml").write_text(
        f'artifacts = "s3://{BUCKET}/{prefix}"\nartifacts_endpoint = "{s3.url}"\n'
        f'artifacts_credentials_file = "{root / "credentials"}"\n'
    )
    return place(root)


async def test_artifacts_go_into_a_bucket_once_and_from_there_to_wherever_they_are_wanted(
    source: Installation, tmp_path: Path, s3: S3Process
):
    target = with_bucket(tmp_path / "bucket", s3, "moved")
    for _ in range(2):  # what is there is not sent again
        assert (await copy(source, target, Options(online=True), quiet)).artifacts == 1
        assert len(s3.objects("moved/sha256")) == 1
    arrived = await copy(source, target, Options(), quiet)
    assert await faults(target) == []
    back = await copy(target, place(tmp_path / "back"), Options(), quiet)
    assert (back.log.digest, back.artifacts) == (arrived.log.digest, 1)
    assert await faults(place(tmp_path / "back")) == []
    file = tmp_path / "backup"
    assert (await back_up(target, file, Options(), quiet)).artifacts == 1
    restored = with_bucket(tmp_path / "restored", s3, "restored")
    assert (await restore(file, restored, Options(), quiet)).artifacts == 1
    assert len(s3.objects("restored/sha256")) == 1
    assert await faults(restored) == []


async def test_what_is_damaged_or_missing_in_a_bucket_is_told_and_goes_nowhere(
    source: Installation, tmp_path: Path, s3: S3Process
):
    target = with_bucket(tmp_path / "bucket", s3, "damaged")
    await copy(source, target, Options(), quiet)
    (held,) = s3.objects("damaged/sha256")
    held.write_bytes(b"evil")
    [fault] = await faults(target)
    assert "is damaged" in fault
    with pytest.raises(MovingError, match="is damaged"):
        await copy(target, place(tmp_path / "back"), Options(), quiet)
    shutil.rmtree(held.parent)
    [fault] = await faults(target)
    assert "is named by an object, and not kept" in fault
