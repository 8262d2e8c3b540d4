import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Engine, Func, FuncType, Instance, Memory, Module, Store, ValType

from skerry.artifacts.wasm_module import ENGINE_MODULE, SOURCE_MAP_SECTION, javascript_module


def source_that_start_hands_over(wasm: bytes) -> str:
    """Instantiate a module with an `init` that writes down what it gets."""
    store = Store(Engine())
    got: list[tuple[int, int]] = []
    kind = FuncType([ValType.i32(), ValType.i32()], [])
    init = Func(store, kind, lambda pointer, length: got.append((pointer, length)))
    exports = Instance(store, Module(store.engine, wasm), [init]).exports(store)
    memory, start = exports["memory"], exports["start"]
    assert isinstance(memory, Memory)
    assert isinstance(start, Func)
    start(store)
    [(pointer, length)] = got
    return bytes(memory.read(store, pointer, pointer + length)).decode()


@pytest.mark.parametrize(
    "source",
    ["", "x", "export default {}", "«Grüße» 漢字 🦀", "a" * 63, "a" * 64, "a" * 127, "a" * 128,
     "a" * 65536, "a" * 65537, "é" * (1024 * 1024)],
    ids=lambda source: f"{source[:8]}x{len(source)}",
)  # fmt: skip
def test_start_hands_the_engine_exactly_the_source(source: str) -> None:
    assert source_that_start_hands_over(javascript_module(source)) == source


@given(st.text(max_size=300))
def test_every_text_survives(source: str) -> None:
    assert source_that_start_hands_over(javascript_module(source)) == source


def test_the_module_asks_for_the_engine_and_nothing_else() -> None:
    module = Module(Engine(), javascript_module("1"))
    assert [(wanted.module, wanted.name) for wanted in module.imports] == [(ENGINE_MODULE, "init")]
    assert sorted(export.name for export in module.exports) == ["memory", "start"]


def test_the_module_costs_little_more_than_its_source() -> None:
    source = "x" * 100_000
    assert len(javascript_module(source)) < len(source) + 200


def test_the_same_source_gives_the_same_bytes() -> None:
    assert javascript_module("a", source_map="{}") == javascript_module("a", source_map="{}")


def test_the_source_map_travels_in_a_custom_section() -> None:
    wasm = javascript_module("1", source_map='{"version":3}')
    assert wasm.endswith(SOURCE_MAP_SECTION.encode() + b'{"version":3}')
    assert source_that_start_hands_over(wasm) == "1"


def test_text_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        javascript_module("\ud800")
