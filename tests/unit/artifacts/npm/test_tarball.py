import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from skerry.artifacts.errors import BuildError
from skerry.artifacts.npm import tarball
from skerry.artifacts.npm.lock import Package
from skerry.artifacts.npm.tarball import Budget, unpack


def packed(*entries: tuple[str, bytes | str], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if isinstance(content, str):
                entry.linkname = content
            else:
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return gzip.compress(out.getvalue())


def package(content: bytes) -> Package:
    return Package("node_modules/a", "a", "1.0.0", hashlib.sha512(content).digest())


def unpacked(content: bytes, folder: Path, *, files: int = 100, content_bytes: int = 10_000) -> dict[str, bytes]:
    unpack(content, package(content), folder / "a", Budget(files, content_bytes))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_sources_are_laid_out_without_the_first_folder(tmp_path: Path) -> None:
    content = packed(("package/index.js", b"1"), ("other/lib/a.json", b"{}"), ("package/build/x.node", b"\x7fELF"))
    assert unpacked(content, tmp_path) == {"a/index.js": b"1", "a/lib/a.json": b"{}"}


@pytest.mark.parametrize("name", ["package/../../evil.js", "../evil.js", "/etc/evil.js", "package\\..\\evil.js"])
def test_a_path_that_leaves_the_package_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BuildError, match="holds a path that leaves it"):
        unpacked(packed((name, b"1")), tmp_path / "in")
    assert not list(tmp_path.rglob("evil.js"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_never_made(tmp_path: Path, kind: bytes) -> None:
    assert unpacked(packed(("package/a.js", "/etc/passwd"), kind=kind), tmp_path) == {}
    assert not list(tmp_path.rglob("a.js"))


def test_another_content_than_the_locks_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="the package a@1.0.0 is not what the lock says: its sha512 is another"):
        unpack(b"not even gzip", package(packed(("package/a.js", b"1"))), tmp_path / "a", Budget(1, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"no tar" * 200)[:-20], gzip.compress(b"x" * 2000)])
def test_a_damaged_tarball_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BuildError, match="damaged"):
        unpacked(content, tmp_path)


def test_a_tarball_that_unpacks_to_too_much_meets_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "UNPACKED_BYTES_MAX", 20_000)
    with pytest.raises(BuildError, match="limit of 20000 bytes"):
        unpacked(packed(("package/a.js", bytes(30_000))), tmp_path)


def test_all_packages_share_one_limit(tmp_path: Path) -> None:
    content = packed(("package/a.js", b"1" * 600), ("package/b.js", b"2" * 600))
    with pytest.raises(BuildError, match="more bytes than the limit"):
        unpacked(content, tmp_path / "bytes", content_bytes=1000)
    with pytest.raises(BuildError, match="more files than the limit"):
        unpacked(content, tmp_path / "files", files=1)


def test_a_file_that_is_also_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="also a folder"):
        unpacked(packed(("package/a.js", b"1"), ("package/a.js/b.js", b"1")), tmp_path)
