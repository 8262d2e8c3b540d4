import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from skerry.kit.clock import SystemClock
from skerry.kit.errors import StartError
from skerry.store.sealing.keys import KEYS_MAX, KeyUnavailable, LocalKeys

DATA_KEY = bytes(range(32))


def reopened(path: Path) -> LocalKeys:
    return LocalKeys(path, SystemClock())


async def test_no_key_is_made_unasked(tmp_path: Path):
    assert reopened(tmp_path / "keys.json").known_keys() == ()
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.usefixtures("keys")
async def test_the_file_is_its_owners_alone(tmp_path: Path):
    path = tmp_path / "pki" / "keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_the_newest_key_wraps_and_every_key_unwraps(keys: LocalKeys, tmp_path: Path):
    first = await keys.wrap(DATA_KEY)
    newest = await keys.add()
    second = await keys.wrap(DATA_KEY)
    assert second.key_id == newest != first.key_id
    again = reopened(tmp_path / "pki" / "keys.json")
    assert again.known_keys() == keys.known_keys()
    assert await again.unwrap(first) == await again.unwrap(second) == DATA_KEY
    assert DATA_KEY not in first.data


async def test_a_removed_key_unwraps_nothing_and_is_named(keys: LocalKeys):
    wrapped = await keys.wrap(DATA_KEY)
    await keys.add()
    await keys.remove([wrapped.key_id])
    with pytest.raises(KeyUnavailable, match=f'key "{wrapped.key_id}" is missing'):
        await keys.unwrap(wrapped)


async def test_what_another_key_wrapped_is_refused(keys: LocalKeys):
    wrapped = await keys.wrap(DATA_KEY)
    other = await keys.add()
    for wrong in (replace(wrapped, key_id=other), replace(wrapped, data=wrapped.data[:20]), replace(wrapped, data=b"")):
        with pytest.raises(KeyUnavailable):
            await keys.unwrap(wrong)


async def test_of_keys_that_are_made_and_removed_at_once_none_is_lost(keys: LocalKeys, tmp_path: Path):
    [first] = keys.known_keys()
    async with asyncio.TaskGroup() as group:
        adding = [group.create_task(keys.add()) for _ in range(5)]
        group.create_task(keys.remove([first.id]))
    made = {task.result() for task in adding}
    for provider in (keys, reopened(tmp_path / "pki" / "keys.json")):
        assert {info.id for info in provider.known_keys()} == made


async def test_keys_are_bounded(keys: LocalKeys):
    for _ in range(KEYS_MAX - 1):
        await keys.add()
    with pytest.raises(KeyUnavailable, match="a rotation has to end"):
        await keys.add()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"keys":[{"id":"local:1"}]}',
        b'{"keys":[{"id":"local:1","created":"","key":"%%"}]}',
        orjson.dumps({"keys": [{"id": "local:1", "created": "", "key": base64.b64encode(b"short").decode()}]}),
    ],
)
def test_a_damaged_file_stops_the_start(tmp_path: Path, content: bytes):
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(StartError, match=r"keys\.json can't be read"):
        reopened(path)
