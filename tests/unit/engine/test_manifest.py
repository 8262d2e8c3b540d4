from pathlib import Path

import pytest

from skerry.engine.errors import LoadError, UnknownRevisionError
from skerry.engine.manifest import (
    FunctionManifest,
    list_manifests,
    read_manifest,
    remove_manifest,
    write_manifest,
)


def manifest(**changed: object) -> FunctionManifest:
    given: dict[str, object] = {
        "revision": "hello-1",
        "function": "hello",
        "artifact": Path("/artifacts/a"),
        **changed,
    }
    return FunctionManifest(**given)  # type: ignore[arg-type]


def test_what_was_written_is_read_again(tmp_path: Path):
    written = manifest(
        env={"GREETING": "grüß dich"},
        timeout_seconds=1.5,
        memory_bytes_max=64 << 20,
        may_fetch=False,
        shared_kv="carts",
    )
    write_manifest(tmp_path, written)
    assert read_manifest(tmp_path, "hello-1") == written
    assert list_manifests(tmp_path) == ["hello-1"]


def test_a_removed_revision_is_unknown_and_removing_it_twice_is_no_error(tmp_path: Path):
    write_manifest(tmp_path, manifest())
    remove_manifest(tmp_path, "hello-1")
    remove_manifest(tmp_path, "hello-1")
    with pytest.raises(UnknownRevisionError, match="hello-1"):
        read_manifest(tmp_path, "hello-1")


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".", "-a", "A", "a" * 254, "a\n"])
def test_a_name_that_is_no_dns_subdomain_never_becomes_a_path(tmp_path: Path, name: str):
    with pytest.raises(UnknownRevisionError):
        read_manifest(tmp_path, name)
    with pytest.raises(ValueError, match="not a name"):
        manifest(revision=name)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"revision": "hello-1"}'])
def test_a_damaged_manifest_is_a_load_error_that_names_the_revision(tmp_path: Path, content: bytes):
    (tmp_path / "hello-1.json").write_bytes(content)
    with pytest.raises(LoadError, match="hello-1"):
        read_manifest(tmp_path, "hello-1")


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        manifest(timeout_seconds=0)
    with pytest.raises(ValueError, match="concurrency_max must be positive"):
        manifest(concurrency_max=0)
    with pytest.raises(ValueError, match="isolation must be"):
        manifest(isolation="none")
