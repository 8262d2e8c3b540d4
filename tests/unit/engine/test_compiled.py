"""The cache of compiled code, with a module of one line."""

import gc
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wasmtime import Module, wat2wasm

from skerry.engine import compiled
from skerry.engine.compiled import load_component, new_engine
from skerry.engine.component import ENGINE_CONTRACT
from skerry.kit.errors import StartError

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = ("world.wit", "bindings.js", "stop_checks.mjs", "rejections.mjs")


def of_contract(wat: str, contract: str = ENGINE_CONTRACT) -> bytes:
    """Return a module that says which contract it keeps."""
    content = b"\x0fskerry:contract" + contract.encode()
    return bytes(wat2wasm(wat)) + bytes((0, len(content))) + content


@pytest.fixture
def component(tmp_path: Path) -> Path:
    path = tmp_path / "component.wasm"
    path.write_bytes(of_contract('(module (func (export "f") (result i32) (i32.const 7)))'))
    return path


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.cwasm"))


def test_the_second_load_is_from_the_cache(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    load_component(new_engine(epochs=False), component, cache)
    (entry,) = entries(cache)
    written = entry.stat().st_ino
    load_component(new_engine(epochs=False), component, cache)
    assert entry.stat().st_ino == written
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x7fELF"])
def test_an_entry_that_is_unusable_is_compiled_again(component: Path, tmp_path: Path, damage: bytes):
    cache = tmp_path / "cache"
    load_component(new_engine(epochs=False), component, cache)
    (entry,) = entries(cache)
    entry.unlink()
    entry.write_bytes(damage)
    assert isinstance(load_component(new_engine(epochs=False), component, cache), Module)
    assert entry.read_bytes() != damage


def test_a_changed_component_is_another_entry(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    load_component(new_engine(epochs=False), component, cache)
    component.write_bytes(of_contract("(module)"))
    load_component(new_engine(epochs=False), component, cache)
    assert len(entries(cache)) == 2


def test_many_at_once_make_one_entry(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(8) as threads:
        modules = list(threads.map(lambda _: load_component(new_engine(epochs=False), component, cache), range(8)))
    assert len(modules) == 8
    assert len(entries(cache)) == 1


def other_versions(component: Path, cache: Path, count: int) -> list[Path]:
    """Fill the cache with what was compiled of other components, a day older each; return the entries, newest first."""
    made: list[Path] = []
    for number in range(count):
        before = set(entries(cache))
        component.write_bytes(of_contract(f"(module (global i32 (i32.const {number})))"))
        load_component(new_engine(epochs=False), component, cache)
        (entry,) = set(entries(cache)) - before
        made.append(entry)
    now = made[0].stat().st_mtime
    for number, entry in enumerate(made):
        os.utime(entry, (now, now - 86400 * number))
    return made


@pytest.mark.parametrize("bound", ["CACHED_ENGINES_BYTES_MAX", "UNUSED_DAYS_MAX"])
def test_what_was_not_used_for_the_longest_goes_when_an_entry_comes(
    component: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
):
    cache = tmp_path / "cache"
    newest, middle, oldest = other_versions(component, cache, 3)
    size = newest.stat().st_size
    # Room for two and a half; or for what was used today and yesterday.
    monkeypatch.setattr(compiled, bound, size * 3.5 if bound == "CACHED_ENGINES_BYTES_MAX" else 1.5)
    component.write_bytes(of_contract("(module)"))
    load_component(new_engine(epochs=False), component, cache)
    assert not oldest.exists()
    assert {newest, middle} < set(entries(cache))
    assert len(entries(cache)) == 3


def test_what_a_process_has_loaded_stays_until_it_lets_go(
    component: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "cache"
    held = load_component(new_engine(epochs=False), component, cache)
    (entry,) = entries(cache)
    os.utime(entry, (0, 0))
    monkeypatch.setattr(compiled, "CACHED_ENGINES_BYTES_MAX", 1)
    other_versions(component, cache, 1)
    assert entry.exists()
    assert isinstance(held, Module)
    del held
    gc.collect()
    component.write_bytes(of_contract("(module)"))
    load_component(new_engine(epochs=False), component, cache)
    assert not entry.exists()


def test_what_is_left_of_a_compilation_that_was_cut_off_goes_with_the_next(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "0-0.1.part").write_bytes(b"half")
    load_component(new_engine(epochs=False), component, cache)
    assert not list(cache.glob("*.part"))


def test_a_missing_or_wrong_component_is_told_with_the_fix(component: Path, tmp_path: Path):
    with pytest.raises(StartError, match="make setup"):
        load_component(new_engine(epochs=False), tmp_path / "none.wasm", tmp_path)
    component.write_bytes(b"not wasm, but " + f"skerry:contract{ENGINE_CONTRACT}".encode())
    with pytest.raises(StartError, match="not a valid module"):
        load_component(new_engine(epochs=False), component, tmp_path)


def test_a_component_of_another_contract_says_how_to_build_it_again(component: Path, tmp_path: Path):
    component.write_bytes(of_contract("(module)", "0" * 16))
    with pytest.raises(StartError, match="run `make js-engine`"):
        load_component(new_engine(epochs=False), component, tmp_path)


def test_the_contract_is_that_of_the_sources():
    sources = b"".join((ROOT / "js-engine" / name).read_bytes() for name in CONTRACT)
    told = hashlib.sha256(sources).hexdigest()[:16]
    assert told == ENGINE_CONTRACT, f'one of {CONTRACT} changed: set component.ENGINE_CONTRACT = "{told}"'
