"""The files that replicas share: made beforehand, and keys rotated through them while replicas run one by one."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from skerry.kit.clock import SystemClock
from skerry.kit.errors import SkerryError, StartError
from skerry.kit.tasks import background
from skerry.main.configuration import Settings
from skerry.main.data_dir import DataDir, opened
from skerry.main.identity import add_key, drop_keys, make_identity, use_key
from skerry.main.storage import open_storage
from skerry.server.credentials import open_administrator
from skerry.store.driver import Driver
from skerry.store.records import Key, Write
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.resealing import Resealer
from skerry.store.sealing.sealed import Sealed, open_sealed
from skerry.testing.postgres_process import PostgresProcess

SERVER = "https://api.internal:6443"
CLOCK = SystemClock()


def secret(number: int) -> Key:
    return Key("secrets", "default", f"a-{number}")


async def test_an_identity_is_made_once_and_is_what_a_replica_starts_with(tmp_path: Path, postgres: PostgresProcess):
    files = await make_identity(tmp_path, SERVER)
    made = {path: path.read_bytes() for path in files}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert SERVER.encode() in made[tmp_path / "kubeconfig"]
    assert {path: path.read_bytes() for path in await make_identity(tmp_path, SERVER)} == made
    token = open_administrator(tmp_path / "pki" / "tokens.json", tmp_path / "kubeconfig").token
    assert token.encode() in made[tmp_path / "kubeconfig"]
    async with replica(tmp_path, postgres.create_schema()):
        assert {path: path.read_bytes() for path in files} == made


async def test_the_files_of_a_running_skerry_are_not_touched(tmp_path: Path):
    await make_identity(tmp_path, SERVER)
    with opened(tmp_path):
        for change in (add_key(tmp_path), use_key(tmp_path), drop_keys(tmp_path, ""), make_identity(tmp_path, SERVER)):
            with pytest.raises(StartError, match="another skerry runs"):
                await change


async def test_a_key_is_used_once_it_was_added_and_by_no_other_order(tmp_path: Path):
    await make_identity(tmp_path, SERVER)
    keys = tmp_path / "pki" / "encryption-keys.json"
    (first,) = LocalKeys(keys, CLOCK).known_keys()
    with pytest.raises(SkerryError, match="no key that was added"):
        await use_key(tmp_path)
    added = await add_key(tmp_path)
    assert LocalKeys(keys, CLOCK).known_keys()[-1] == first
    assert await use_key(tmp_path) == added
    with pytest.raises(SkerryError, match="no key that was added"):
        await use_key(tmp_path)
    assert [key.id for key in LocalKeys(keys, CLOCK).known_keys()] == [first.id, added]


@asynccontextmanager
async def replica(root: Path, url: str) -> AsyncIterator[tuple[Driver, Resealer]]:
    """Run what of a replica encrypts."""
    async with open_storage(Settings(database=url), DataDir(root), CLOCK) as storage:
        sealed: Sealed = await open_sealed(storage.driver, storage.keys, {"secrets"}.__contains__)
        async with background(("resealing", sealed.resealer.run)):
            yield sealed.driver, sealed.resealer


class Replicas:
    """Two replicas, restarted one after the other with the files of the first."""

    def __init__(self, roots: list[Path], url: str) -> None:
        self.running: list[tuple[Driver, Resealer]] = []
        self._roots = roots
        self._url = url
        self._stacks = [AsyncExitStack() for _ in roots]
        self._written = 0

    async def start(self) -> None:
        for root, stack in zip(self._roots, self._stacks, strict=True):
            self.running.append(await stack.enter_async_context(replica(root, self._url)))

    async def restart_each(self) -> None:
        for place, (root, stack) in enumerate(zip(self._roots, self._stacks, strict=True)):
            await stack.aclose()
            if root != self._roots[0]:
                shutil.copytree(self._roots[0] / "pki", root / "pki", dirs_exist_ok=True)
            self.running[place] = await stack.enter_async_context(replica(root, self._url))
            await self.use()

    async def use(self) -> None:
        """Write a secret at each replica, and read all of them at each."""
        for driver, _ in self.running:
            self._written += 1
            await driver.append(Write(secret(self._written), b'{"n":%d}' % self._written, 0))
        for driver, _ in self.running:
            for number in range(1, self._written + 1):
                entry = await driver.get(secret(number))
                assert entry is not None
                assert entry.value == b'{"n":%d}' % number

    async def stop(self) -> None:
        for stack in self._stacks:
            await stack.aclose()


async def test_the_keys_of_replicas_are_rotated_by_restarts_one_by_one(tmp_path: Path, postgres: PostgresProcess):
    url, first, second = postgres.create_schema(), tmp_path / "first", tmp_path / "second"
    await make_identity(first, SERVER)
    shutil.copytree(first / "pki", second / "pki")
    (old,) = LocalKeys(first / "pki" / "encryption-keys.json", CLOCK).known_keys()
    replicas = Replicas([first, second], url)
    await replicas.start()
    try:
        await replicas.use()
        added = await add_key(first)
        await replicas.restart_each()
        assert set((await replicas.running[0][1].census()).values) == {old.id}
        await use_key(first)
        assert (await drop_keys(first, url)).needed == [old.id]
        await replicas.restart_each()
        for _, resealer in replicas.running:
            await resealer.turn()
        assert set((await replicas.running[1][1].census()).values) == {added}
        assert (await drop_keys(first, url)).dropped == [old.id]
        await replicas.restart_each()
    finally:
        await replicas.stop()
    assert [key.id for key in LocalKeys(second / "pki" / "encryption-keys.json", CLOCK).known_keys()] == [added]
