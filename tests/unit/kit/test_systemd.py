"""What the service manager is told."""

import secrets
import socket
from pathlib import Path

import pytest

from skerry.kit.systemd import READY, notify


@pytest.mark.parametrize("where", ["path", "abstract"])
def test_a_state_is_one_datagram_to_the_socket_that_was_named(tmp_path: Path, where: str):
    address = f"@skerry-{secrets.token_hex(8)}" if where == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if where == "abstract" else address)
        notify(READY, address)
        assert manager.recv(100) == b"READY=1"


def test_nobody_is_told_where_nobody_asked():
    notify(READY, "")


def test_a_manager_that_is_not_there_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    notify(READY, str(tmp_path / "notify"))
    assert "the service manager can't be told" in capsys.readouterr().out
