import socket

import pytest

from skerry.testing.ports import own_port


def test_a_port_of_ones_own_is_for_servers_who_name_it_and_for_nobody_else_though_nobody_listens():
    port = own_port()
    for _ in range(2):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass
