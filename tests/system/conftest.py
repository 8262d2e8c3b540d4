"""System tests drive real processes: `skerry up`, Envoy, engine workers, kubectl."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from skerry.testing.skerry_process import ANY_FILE, SkerryProcess

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """The compiled engine, shared by all: compiling it takes longer than most tests."""
    return ROOT / ".cache"


@pytest.fixture(scope="module")
def skerry(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[SkerryProcess]:
    """One Skerry for the tests of a module, which use names of their own."""
    data_dir = tmp_path_factory.mktemp("skerry") / "data"
    with SkerryProcess.started(data_dir, cache_dir=cache_dir, settings=ANY_FILE) as running:
        yield running


def greeter(text: str) -> bytes:
    """Return a WASI program that answers with a text."""
    message = f"content-type: text/plain\n\n{text}".encode()
    data = "".join(f"\\{byte:02x}" for byte in message)
    return bytes(
        wat2wasm(
            f"""(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1) (data (i32.const 64) "{data}")
                (func (export "_start") (i32.store (i32.const 0) (i32.const 64))
                  (i32.store (i32.const 4) (i32.const {len(message)}))
                  (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
        )
    )
