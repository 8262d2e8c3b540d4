"""What is a shared object that Envoy can load, and what is told of anything else."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.artifacts.errors import FetchError
from skerry.artifacts.shared_object import MACHINES, exported_names, filter_loader
from skerry.testing.natives import elf_file

MODULE = (
    "envoy_dynamic_module_on_program_init",
    "envoy_dynamic_module_on_http_filter_config_new",
    "envoy_dynamic_module_on_http_filter_config_destroy",
    "envoy_dynamic_module_on_http_filter_new",
    "envoy_dynamic_module_on_http_filter_destroy",
)
GO = (
    "envoyGoFilterNewHttpPluginConfig",
    "envoyGoFilterDestroyHttpPluginConfig",
    "envoyGoFilterMergeHttpPluginConfig",
    "envoyGoFilterOnHttpHeader",
    "envoyGoFilterOnHttpData",
    "envoyGoFilterOnHttpLog",
    "envoyGoFilterOnHttpDestroy",
)


@pytest.mark.parametrize("architecture", MACHINES)
def test_a_filter_is_known_by_what_it_exports(architecture: str) -> None:
    machine = MACHINES[architecture]
    assert filter_loader(elf_file(*MODULE, machine=machine), architecture) == "DynamicModule"
    assert filter_loader(elf_file(*GO, machine=machine), architecture) == "GoFilter"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no ELF file"),
        (b"a text", "no ELF file"),
        (b"\x7fELF\x01\x01\x01", "no ELF file of 64 bit"),
        (elf_file(*MODULE, machine=MACHINES["arm64"]), "it is for arm64, and this node is amd64"),
        (elf_file(*MODULE, machine=8), "it is for machine 8"),
        (elf_file(*MODULE, kind=2), "no shared object: link it with -shared"),
        (elf_file(*MODULE)[:-1], "cut short"),
        (elf_file(*MODULE)[:70], "cut short"),
        (elf_file(*MODULE)[:40], "64 bytes"),
        (elf_file("printf"), "it is no dynamic module of Envoy, nor a Go plugin of it"),
        (elf_file(*MODULE[:-1]), "does not export envoy_dynamic_module_on_http_filter_destroy"),
        (elf_file(*GO[:-2]), "does not export envoyGoFilterOnHttpLog, envoyGoFilterOnHttpDestroy"),
    ],
)
def test_anything_else_is_told(content: bytes, told: str) -> None:
    with pytest.raises(FetchError, match=told) as error:
        filter_loader(content, "amd64")
    assert error.value.reason == "NotSharedObject"


@given(st.integers(0, len(elf_file(*MODULE)) - 1), st.binary(min_size=1, max_size=8))
def test_no_damage_does_more_than_a_refusal(position: int, damage: bytes) -> None:
    whole = elf_file(*MODULE)
    damaged = whole[:position] + damage + whole[position + len(damage) :]
    with contextlib.suppress(FetchError):
        filter_loader(damaged, "amd64")


def test_a_library_of_this_machine_is_read_as_it_is() -> None:
    libraries = sorted(Path("/lib").glob("*/libc.so.6"))
    if not libraries:
        pytest.skip("this machine has no libc.so.6 below /lib")
    assert "printf" in set(exported_names(libraries[0].read_bytes()))
