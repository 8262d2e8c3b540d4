"""Frames of a bundle in the author's lines; the binary is made as builds make it."""

import json
from pathlib import Path

import pytest

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine import source_frames
from skerry.engine.source_frames import SourceFrames

#: Line 1 has no mapping; line 2, column 5 is main.ts:3:7; from column 9 on the bundler's own code.
MAP = json.dumps({"version": 3, "sources": ["src/main.ts"], "mappings": ";IAEM,I"})


def frames(tmp_path: Path, source_map: str = MAP) -> SourceFrames:
    path = tmp_path / "function.wasm"
    path.write_bytes(javascript_module("1;\n    f();", source_map=source_map))
    return SourceFrames(path)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("fetch@function.js:2:5", "    at fetch (src/main.ts:3:7)"),
        ("@function.js:2:6", "    at src/main.ts:3:7"),
        ("Oh\n  a@function.js:2:5\nb@function.js:1:1", "Oh\n      at a (src/main.ts:3:7)\nb@function.js:1:1"),
        ("helper@function.js:2:9", "helper@function.js:2:9"),
        ("see me@function.js:2:5 in a sentence", "see me@function.js:2:5 in a sentence"),
        ("nothing of it", "nothing of it"),
    ],
)  # fmt: skip
def test_frames_are_told_in_the_source(tmp_path: Path, told: str, expected: str) -> None:
    assert frames(tmp_path).in_source(told) == expected
    assert frames(tmp_path).in_source_bytes(told.encode()) == expected.encode()


@pytest.mark.parametrize("source_map", ["", "{", '{"version": 3}', json.dumps({"version": 2}), "[" * 100_000])
def test_without_a_usable_map_frames_stay(tmp_path: Path, source_map: str) -> None:
    assert frames(tmp_path, source_map).in_source("a@function.js:2:5") == "a@function.js:2:5"


def test_a_map_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_frames, "SOURCE_MAP_BYTES_MAX", 10)
    assert frames(tmp_path).in_source("a@function.js:2:5") == "a@function.js:2:5"


@pytest.mark.parametrize("content", [b"", b"\0asm", b"\0asm\x01\0\0\0\0\xff\xff", None])
def test_a_binary_that_is_gone_or_cut_short_is_no_failure(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "function.wasm"
    if content is not None:
        path.write_bytes(content)
    assert SourceFrames(path).in_source("a@function.js:2:5") == "a@function.js:2:5"
