"""Unpacking: whatever the boxes, the module comes out whole, or the reason why not."""

import gzip
import io
import tarfile
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.forms import WASM_MODULE
from skerry.artifacts.fetching.unboxing import DEPTH_MAX, TAR_ENTRIES_MAX, any_file, unbox
from skerry.testing.images import tar_of
from skerry.testing.wasm import proxy_wasm_module

MODULE = proxy_wasm_module(b"x" * 100)
LIMIT = 100_000


@pytest.mark.parametrize(
    "boxed",
    [
        MODULE,
        gzip.compress(MODULE),
        zstandard.compress(MODULE),
        tar_of("any-name", MODULE),
        gzip.compress(tar_of("any-name", MODULE)),
        zstandard.compress(tar_of("any-name", MODULE)),
        tar_of("outer.tar", tar_of("inner.wasm", MODULE)),
        gzip.compress(MODULE[:20]) + gzip.compress(MODULE[20:]),
        zstandard.compress(MODULE[:20]) + zstandard.compress(MODULE[20:]),
    ],
    ids=["plain", "gzip", "zstd", "tar", "tar.gz", "tar.zst", "tar in tar", "gzip members", "zstd frames"],
)
def test_a_module_comes_out_of_its_boxes(boxed: bytes) -> None:
    assert unbox(boxed, bytes_max=LIMIT) == MODULE


def test_of_an_image_layer_the_first_file_named_plugin_wasm_is_taken() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("opt/plugin.wasm")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in (("readme", b"no"), ("./opt/plugin.wasm/plugin.wasm", MODULE), ("plugin.wasm", b"no")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert unbox(buffer.getvalue(), bytes_max=LIMIT, wanted=WASM_MODULE.is_in_image) == MODULE


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_what_unpacks_to_more_than_the_limit_is_refused(compress: object) -> None:
    bomb = compress(b"\0asm" + bytes(LIMIT))  # type: ignore[operator]
    assert len(bomb) < 1000
    with pytest.raises(FetchError, match="more than the limit of 100000 bytes") as raised:
        unbox(bomb, bytes_max=LIMIT)
    assert raised.value.reason == "TooLarge"


def test_a_file_in_a_tar_that_is_over_the_limit_is_refused() -> None:
    with pytest.raises(FetchError, match="more than the limit"):
        unbox(tar_of("a", MODULE), bytes_max=50)


@pytest.mark.parametrize(
    ("boxed", "said"),
    [
        (b"", "no Wasm module"),
        (b"<html>", "no Wasm module"),
        (gzip.compress(b"text"), "no Wasm module"),
        (gzip.compress(MODULE)[:-12], "cut short"),
        (b"\x1f\x8b" + bytes(50), "damaged gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "damaged zstd|no Wasm module"),
        (tar_of("plugin.wasm", MODULE)[:600], "tar file"),
        (tar_of("a", b"")[:512], "no file|no Wasm"),
    ],
    ids=["empty", "page", "text", "cut gzip", "damaged gzip", "damaged zstd", "cut tar", "cut empty tar"],
)
def test_what_holds_no_module_is_refused_with_the_reason(boxed: bytes, said: str) -> None:
    with pytest.raises(FetchError, match=said) as raised:
        unbox(boxed, bytes_max=LIMIT)
    assert raised.value.reason == "NotWasm"


def test_a_layer_without_plugin_wasm_is_refused_by_that_name() -> None:
    with pytest.raises(FetchError, match="no file named plugin.wasm"):
        unbox(tar_of("other.wasm", MODULE), bytes_max=LIMIT, wanted=WASM_MODULE.is_in_image)


def test_boxes_nest_only_so_deep() -> None:
    boxed = MODULE
    for _ in range(DEPTH_MAX):
        boxed = gzip.compress(boxed)
    assert unbox(boxed, bytes_max=LIMIT) == MODULE
    with pytest.raises(FetchError, match="times over"):
        unbox(gzip.compress(boxed), bytes_max=LIMIT)


def test_a_tar_of_very_many_entries_is_given_up() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(TAR_ENTRIES_MAX + 1):
            tar.addfile(tarfile.TarInfo(f"f{number}"))
    with pytest.raises(FetchError, match="among its first"):
        unbox(buffer.getvalue(), bytes_max=10**8, wanted=WASM_MODULE.is_in_image)


@given(st.binary(max_size=2000), st.sampled_from(["", "gzip", "zstd", "tar", "wasm"]))
def test_any_bytes_come_out_as_a_module_or_are_refused(noise: bytes, start: str) -> None:
    starts = {
        "": b"",
        "gzip": b"\x1f\x8b\x08\x00",
        "zstd": b"\x28\xb5\x2f\xfd",
        "tar": tar_of("a", MODULE)[:300],
        "wasm": zlib.compress(MODULE),
    }
    try:
        found = unbox(starts[start] + noise, bytes_max=LIMIT, wanted=any_file)
    except FetchError:
        return
    assert found.startswith(b"\0asm")
