import socket
from pathlib import Path

import pytest

from skerry.kit.errors import StartError
from skerry.main import data_dir, ports
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
    address = await ports.free_address(Address("127.0.0.1", 0), "--http-address")
    assert address.port > 0


async def test_a_taken_port_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ports, "FREE_SECONDS_MAX", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"can't listen on 127.0.0.1:{port}.*--http-address"):
            await ports.free_address(Address("127.0.0.1", port), "--http-address")
