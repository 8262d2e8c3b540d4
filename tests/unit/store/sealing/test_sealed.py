"""A database with lost keys: refused at the start, or given up on purpose."""

from pathlib import Path

import pytest

from skerry.kit.clock import SystemClock
from skerry.kit.errors import StartError
from skerry.store.memory import MemoryDriver
from skerry.store.records import Key, Write
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.sealed import discard_undecryptable, open_sealed

SECRET, CONFIG = Key("secrets", "default", "a"), Key("configmaps", "default", "a")
CONFIDENTIAL = frozenset({"secrets"}).__contains__


async def test_the_first_start_makes_a_key(tmp_path: Path):
    await open_sealed(MemoryDriver(), LocalKeys(tmp_path / "k", SystemClock()), CONFIDENTIAL)
    assert len(LocalKeys(tmp_path / "k", SystemClock()).known_keys()) == 1
    await open_sealed(MemoryDriver(), LocalKeys(tmp_path / "k", SystemClock()), CONFIDENTIAL)
    assert len(LocalKeys(tmp_path / "k", SystemClock()).known_keys()) == 1


async def sealed_by_lost_keys(tmp_path: Path) -> MemoryDriver:
    database = MemoryDriver()
    driver = (await open_sealed(database, LocalKeys(tmp_path / "k", SystemClock()), CONFIDENTIAL)).driver
    first = await driver.append(Write(SECRET, b'{"state":1}', 0))
    await driver.append(Write(SECRET, b'{"state":2}', first))
    await driver.append(Write(CONFIG, b"{}", 0))
    (tmp_path / "k").rename(tmp_path / "backup")
    return database


async def test_a_start_without_the_keys_is_refused_and_makes_no_new_one(tmp_path: Path):
    database = await sealed_by_lost_keys(tmp_path)
    with pytest.raises(StartError, match="2 stored values can't be decrypted: restore the encryption keys") as caught:
        await open_sealed(database, LocalKeys(tmp_path / "k", SystemClock()), CONFIDENTIAL)
    assert "secrets default/a can't be decrypted: key \"local:" in caught.value.detail
    assert not (tmp_path / "k").exists()
    (tmp_path / "backup").rename(tmp_path / "k")
    driver = (await open_sealed(database, LocalKeys(tmp_path / "k", SystemClock()), CONFIDENTIAL)).driver
    entry = await driver.get(SECRET)
    assert entry is not None
    assert entry.value == b'{"state":2}'


async def test_what_is_lost_can_be_discarded_and_nothing_else_is(tmp_path: Path):
    database = await sealed_by_lost_keys(tmp_path)
    keys = LocalKeys(tmp_path / "k", SystemClock())
    assert await discard_undecryptable(database, keys) == ["secrets default/a"]
    driver = (await open_sealed(database, keys, CONFIDENTIAL)).driver
    assert await driver.get(SECRET) is None
    assert await driver.get(CONFIG) is not None
    assert await discard_undecryptable(database, keys) == []
