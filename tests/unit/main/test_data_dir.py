import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.artifacts.folder import FolderKeep
from skerry.engine.key_value_file import KeyValueStore
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.images import LocalImages
from skerry.kit.clock import SystemClock
from skerry.kit.errors import StartError
from skerry.main import data_dir, ports
from skerry.main.data_dir import DataDir
from skerry.main.setting_values import Address


def test_a_second_holder_is_refused_and_a_later_one_is_not(tmp_path: Path):
    with (
        data_dir.opened(tmp_path / "data"),
        pytest.raises(StartError, match="another skerry runs"),
        data_dir.opened(tmp_path / "data"),
    ):
        pass
    with data_dir.opened(tmp_path / "data") as opened:
        assert opened.root == tmp_path / "data"


def test_a_note_left_by_a_killed_process_is_removed(tmp_path: Path):
    (tmp_path / "run.json").write_text("{}")
    with data_dir.opened(tmp_path) as opened:
        assert not opened.run_note.exists()


@pytest.fixture
def open_place(tmp_path: Path) -> Iterator[Path]:
    """A data directory that everybody may enter, and a process whose files everybody may read."""
    before = os.umask(0)
    tmp_path.chmod(0o777)
    try:
        yield tmp_path
    finally:
        os.umask(before)


def may_be_had_by_others(root: Path) -> list[str]:
    """Return what others can come to, and do something with, below a folder that they may enter."""
    found = []
    for path in sorted(root.iterdir()):
        mode = path.stat().st_mode
        if mode & 0o077:
            found += [path.name]
        if path.is_dir() and mode & 0o011:
            found += may_be_had_by_others(path)
    return found


async def test_what_is_kept_in_a_data_directory_that_is_open_is_for_nobody_else(open_place: Path):
    kept = DataDir(open_place)
    KeyValueStore(kept.key_values, SystemClock()).close()
    async with FolderKeep(kept.artifacts) as keep, LocalDriver(kept.deployments):
        await keep.put(b"code")
        LocalImages(kept.images)
        assert may_be_had_by_others(open_place) == []
    kept.key_values.unlink()
    kept.key_values.parent.chmod(0o777)
    KeyValueStore(kept.key_values, SystemClock()).close()
    assert may_be_had_by_others(open_place) == ["kv"]


def test_what_was_left_open_is_closed_when_the_data_directory_is_opened(open_place: Path):
    kept = DataDir(open_place)
    for folder in (kept.pki, kept.artifacts, kept.key_values.parent, kept.deployments):
        folder.mkdir(mode=0o755)
    kept.database.touch(mode=0o644)
    with data_dir.opened(open_place):
        assert may_be_had_by_others(open_place) == []


def test_a_data_directory_that_cannot_be_made_is_a_start_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can't be used"), data_dir.opened(tmp_path / "file" / "data"):
        pass


def test_sockets_move_out_of_a_path_that_is_too_long(tmp_path: Path):
    long = data_dir.DataDir(tmp_path / ("d" * 100))
    with data_dir.run_dir(long) as outside:
        assert len(str(outside)) < data_dir.SOCKET_DIR_BYTES_MAX
    assert not outside.exists()


async def test_port_0_becomes_a_free_port():
    async with ports.held_address(Address("127.0.0.1", 0), "--http-address") as address:
        assert address.port > 0


async def test_a_port_is_nobody_elses_until_who_uses_it_listens_and_between_its_lives():
    async with ports.held_address(Address("127.0.0.1", 0), "--http-address") as address:
        for _ in range(2):
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((address.host, address.port))
            with socket.create_server((address.host, address.port)) as own:
                assert own.getsockname()[1] == address.port


async def test_a_taken_port_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ports, "FREE_SECONDS_MAX", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"can't listen on 127.0.0.1:{port}.*--http-address"):
            async with ports.held_address(Address("127.0.0.1", port), "--http-address"):
                pass
