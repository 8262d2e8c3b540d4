"""A plugin is known by what it exports, before any proxy loads it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.proxy_wasm import ABI_EXPORTS, exported_names, require_proxy_wasm
from skerry.testing.wasm import proxy_wasm_module

MODULE = proxy_wasm_module(b"payload")


@pytest.mark.parametrize("export", ABI_EXPORTS)
def test_a_module_of_each_version_of_the_abi_is_accepted(export: str) -> None:
    module = proxy_wasm_module(export=export)
    require_proxy_wasm(module)
    assert list(exported_names(module)) == [export]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (b"", "NotWasm"),
        (b"\0asm", "NotWasm"),
        (b"\0asm\x02\0\0\0", "NotWasm"),
        (b"\0asm\x0d\0\x01\0", "NotProxyWasm"),
        (b"\0asm\x01\0\0\0", "NotProxyWasm"),
        (proxy_wasm_module(export="_start"), "NotProxyWasm"),
        (proxy_wasm_module(export="proxy_abi_version_9_9_9"), "NotProxyWasm"),
        (MODULE[:-3], "NotWasm"),
        (MODULE[:24], "NotWasm"),
        (b"\0asm\x01\0\0\0\x07\xff\xff\xff\xff\xff\x0f", "NotWasm"),
    ],
)
def test_what_no_proxy_could_run_is_refused(module: bytes, reason: str) -> None:
    with pytest.raises(FetchError) as raised:
        require_proxy_wasm(module)
    assert raised.value.reason == reason


@given(st.binary(max_size=300), st.integers(0, len(MODULE)))
def test_any_module_is_accepted_or_refused(noise: bytes, cut: int) -> None:
    for module in (b"\0asm\x01\0\0\0" + noise, MODULE[:cut] + noise):
        with suppress(FetchError):
            require_proxy_wasm(module)
