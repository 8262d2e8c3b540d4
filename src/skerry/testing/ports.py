"""Ports of loopback that stay a test's own while nobody listens there, as between two lives of a server.

The kernel hands those from 32768 on (net.ipv4.ip_local_port_range) to whoever asks for port 0, and to every connection
that is opened. These lie below, where only who names one gets it; each process of a test run begins elsewhere.
"""

import itertools
import os
import socket

FIRST, COUNT = 20_000, 10_000
_STRIDE = 97
_numbers = itertools.count(os.getpid() * _STRIDE)


def own_port() -> int:
    """Return a port that is free, and was not returned before by this process."""
    while True:
        port = FIRST + next(_numbers) % COUNT
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) != 0:
                return port
