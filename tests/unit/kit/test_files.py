"""Private files: whole or not at all, and readable by their owner alone."""

import os
import stat
from pathlib import Path

import pytest

from skerry.kit.files import close_to_others, make_private_directory, write_private


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old and longer")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o600


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    write_private(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_private_and_may_exist(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private_directory(tmp_path / "a" / "b")
        make_private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert {mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")} == {0o700}


@pytest.mark.parametrize(("mode", "closed"), [(0o755, 0o700), (0o2770, 0o2700), (0o600, 0o600)])
def test_what_is_open_is_closed_to_others(tmp_path: Path, mode: int, closed: int) -> None:
    tmp_path.chmod(mode)
    close_to_others(tmp_path)
    assert mode_of(tmp_path) == closed
