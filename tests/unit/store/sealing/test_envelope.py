"""Sealing and opening: what comes back, and what does not."""

from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.kit.clock import SystemClock
from skerry.store.errors import Undecryptable
from skerry.store.records import Key
from skerry.store.sealing import envelope
from skerry.store.sealing.envelope import Sealer, is_plain, key_id_of
from skerry.store.sealing.keys import LocalKeys

KEY = Key("secrets", "default", "db")
VALUE = b'{"metadata":{"name":"db"},"data":{"password":"Y2FuYXJ5"}}'

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)


@given(value=st.binary(max_size=4096), resource=texts, namespace=texts, name=texts)
@settings(max_examples=100, deadline=None)
def test_whatever_is_sealed_comes_back(value: bytes, resource: str, namespace: str, name: str):
    async def round_trip() -> None:
        with TemporaryDirectory() as directory:
            provider = LocalKeys(Path(directory) / "keys.json", SystemClock())
            await provider.add()
            key = Key(resource, namespace, name)
            sealed = await Sealer(provider).seal(key, value)
            assert not is_plain(sealed)
            assert key_id_of(sealed) == provider.known_keys()[-1].id
            assert await Sealer(provider).open(key, sealed) == value  # as after a restart

    anyio.run(round_trip)


async def test_a_plain_value_is_returned_as_it_is(keys: LocalKeys):
    assert await Sealer(keys).open(KEY, VALUE) is VALUE


async def test_nothing_of_a_value_is_in_its_sealed_form_and_no_two_forms_are_equal(keys: LocalKeys):
    sealer = Sealer(keys)
    first, second = await sealer.seal(KEY, VALUE), await sealer.seal(KEY, VALUE)
    assert first != second
    assert not any(VALUE[at : at + 4] in first for at in range(len(VALUE) - 4))


async def test_any_flipped_bit_is_noticed(keys: LocalKeys):
    sealer = Sealer(keys)
    sealed = await sealer.seal(KEY, VALUE)
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Undecryptable):
            await sealer.open(KEY, bytes(damaged))


async def test_any_cut_is_noticed(keys: LocalKeys):
    sealer = Sealer(keys)
    sealed = await sealer.seal(KEY, VALUE)
    for wrong in [sealed[:end] for end in range(len(sealed))] + [sealed + b"\0"]:
        with pytest.raises(Undecryptable):
            await sealer.open(KEY, wrong)


@pytest.mark.parametrize(
    "other",
    [
        Key("secrets", "default", "other"),
        Key("secrets", "prod", "db"),
        Key("configmaps", "default", "db"),
        Key("secrets", "", "default\0db"),
    ],
)
async def test_a_value_opens_nowhere_but_where_it_was_sealed_for(keys: LocalKeys, other: Key):
    sealer = Sealer(keys)
    sealed = await sealer.seal(KEY, VALUE)
    with pytest.raises(Undecryptable, match="was moved here from another object"):
        await sealer.open(other, sealed)


async def test_a_missing_key_is_named_and_so_is_the_object(keys: LocalKeys):
    sealed = await Sealer(keys).seal(KEY, VALUE)
    lost = key_id_of(sealed)
    await keys.add()
    await keys.remove([lost])
    with pytest.raises(Undecryptable, match=f'secrets default/db can\'t be decrypted: key "{lost}" is missing'):
        await Sealer(keys).open(KEY, sealed)


async def test_what_was_met_before_stays_readable_when_its_key_goes(keys: LocalKeys):
    sealer = Sealer(keys)
    sealed = await sealer.seal(KEY, VALUE)
    await keys.add()
    await keys.remove([key_id_of(sealed)])
    assert await sealer.open(KEY, sealed) == VALUE  # a read that was under way when the rotation ended


async def test_a_new_key_seals_from_its_first_value_on(keys: LocalKeys):
    sealer = Sealer(keys)
    await sealer.seal(KEY, VALUE)
    newest = await keys.add()
    assert key_id_of(await sealer.seal(KEY, VALUE)) == newest


async def test_a_data_key_serves_a_bounded_number_of_values(keys: LocalKeys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(envelope, "VALUES_PER_DATA_KEY_MAX", 3)
    sealer = Sealer(keys)
    sealed = [await sealer.seal(KEY, VALUE) for _ in range(7)]
    assert len({value[:60] for value in sealed}) == 3
    assert [await sealer.open(KEY, value) for value in sealed] == [VALUE] * 7


async def test_data_keys_are_remembered_up_to_a_bound(keys: LocalKeys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(envelope, "VALUES_PER_DATA_KEY_MAX", 1)
    monkeypatch.setattr(envelope, "DATA_KEYS_REMEMBERED_MAX", 2)
    sealer = Sealer(keys)
    sealed = [await sealer.seal(KEY, VALUE) for _ in range(5)]
    assert [await sealer.open(KEY, value) for value in sealed] == [VALUE] * 5
    assert sealer.statistics() == {"data_keys_remembered": 2}
