"""The cache of compiled code, with a module of one line."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wasmtime import Module, wat2wasm

from skerry.engine.compiled import load_component, new_engine
from skerry.kit.errors import StartError


@pytest.fixture
def component(tmp_path: Path) -> Path:
    path = tmp_path / "component.wasm"
    path.write_bytes(bytes(wat2wasm('(module (func (export "f") (result i32) (i32.const 7)))')))
    return path


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.cwasm"))


def test_the_second_load_is_from_the_cache(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    load_component(new_engine(), component, cache)
    (entry,) = entries(cache)
    written = entry.stat().st_ino
    load_component(new_engine(), component, cache)
    assert entry.stat().st_ino == written
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x7fELF"])
def test_an_entry_that_is_unusable_is_compiled_again(component: Path, tmp_path: Path, damage: bytes):
    cache = tmp_path / "cache"
    load_component(new_engine(), component, cache)
    (entry,) = entries(cache)
    entry.unlink()
    entry.write_bytes(damage)
    assert isinstance(load_component(new_engine(), component, cache), Module)
    assert entry.read_bytes() != damage


def test_a_changed_component_is_another_entry(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    load_component(new_engine(), component, cache)
    component.write_bytes(bytes(wat2wasm("(module)")))
    load_component(new_engine(), component, cache)
    assert len(entries(cache)) == 2


def test_many_at_once_make_one_entry(component: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(8) as threads:
        modules = list(threads.map(lambda _: load_component(new_engine(), component, cache), range(8)))
    assert len(modules) == 8
    assert len(entries(cache)) == 1


def test_a_missing_or_wrong_component_is_told_with_the_fix(component: Path, tmp_path: Path):
    with pytest.raises(StartError, match="make setup"):
        load_component(new_engine(), tmp_path / "none.wasm", tmp_path)
    component.write_bytes(b"not wasm")
    with pytest.raises(StartError, match="not a valid module"):
        load_component(new_engine(), component, tmp_path)
