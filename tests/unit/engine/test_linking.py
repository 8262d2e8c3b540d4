import pytest
from wasmtime import Module, wat2wasm

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine.compiled import new_engine
from skerry.engine.errors import LoadError
from skerry.engine.linking import linked_bundle

INIT = '(import "skerry:js-engine/v1" "init" (func $init (param i32 i32)))'


def link(text: str) -> bytes:
    engine = new_engine(epochs=True)
    return linked_bundle(engine, Module(engine, bytes(wat2wasm(text))))


def test_the_bundle_comes_out_as_it_went_in():
    source = "globalThis.x = 'grüß dich'; // \u0000 🦀"
    engine = new_engine(epochs=True)
    assert linked_bundle(engine, Module(engine, javascript_module(source))) == source.encode()


def test_a_module_with_another_import_is_refused_by_name():
    with pytest.raises(LoadError, match="'fd_write' of 'wasi_snapshot_preview1'"):
        link('(module (import "wasi_snapshot_preview1" "fd_write" (func)))')


def test_a_module_without_start_is_refused():
    with pytest.raises(LoadError, match="'start'"):
        link(f'(module {INIT} (memory (export "memory") 1))')


def test_a_module_without_memory_is_refused():
    start = '(func (export "start") (call $init (i32.const 0) (i32.const 1)))'
    with pytest.raises(LoadError, match="memory"):
        link(f"(module {INIT} {start})")


def test_a_bundle_outside_of_the_memory_is_refused():
    start = '(func (export "start") (call $init (i32.const 65530) (i32.const 100)))'
    with pytest.raises(LoadError, match="outside of its memory"):
        link(f'(module {INIT} (memory (export "memory") 1) {start})')


@pytest.mark.parametrize("calls", [0, 2])
def test_init_must_be_called_exactly_once(calls: int):
    call = "(call $init (i32.const 0) (i32.const 1))" * calls
    with pytest.raises(LoadError, match="exactly once"):
        link(f'(module {INIT} (memory (export "memory") 1) (func (export "start") {call}))')


def test_a_module_that_wants_too_much_memory_is_refused():
    with pytest.raises(LoadError, match="linked"):
        link(f'(module {INIT} (memory (export "memory") 2000) (func (export "start")))')


def test_a_start_of_another_signature_is_refused():
    start = '(func (export "start") (result i64 i64) (i64.const 1) (i64.const 2))'
    with pytest.raises(LoadError, match="without parameters and results"):
        link(f'(module {INIT} (memory (export "memory") 1) {start})')
