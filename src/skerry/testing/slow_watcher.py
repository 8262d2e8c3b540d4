"""A watcher that reads when it is told to, and has little room for what it has not read.

watcher = SlowWatcher(replica, path, resource_version)
...
events = watcher.read(until=lambda document: document["metadata"]["resourceVersion"] == newest)
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from skerry.testing.skerry_process import SkerryProcess

RECEIVE_BUFFER_BYTES = 4096
READ_SECONDS_MAX = 120.0

Document = Mapping[str, Any]


class GoneError(Exception):
    """The watch can't go on; the message is the code."""


class SlowWatcher:
    """A watch over TLS, read by a thread that may block.

    Args:
        replica: where it watches, for good.
        path: of a collection, with a query that selects what is watched, or with none.
        position: the revision from which it goes on.
    """

    def __init__(self, replica: SkerryProcess, path: str, position: str) -> None:
        self.position = position
        self._path = path + ("&" if "?" in path else "?")
        url = urlsplit(replica.api)
        self._place = (str(url.hostname), int(url.port or 0))
        with replica.api_client() as client:
            self._headers = dict(client.headers)
        self._trust = ssl.create_default_context(cafile=str(replica.data_dir / "pki" / "ca.crt"))
        self.open()

    def open(self) -> None:
        """Watch from the position, over a new connection."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        plain.settimeout(READ_SECONDS_MAX)
        plain.connect(self._place)
        self._connection = http.client.HTTPConnection(*self._place)
        self._connection.sock = self._trust.wrap_socket(plain, server_hostname=self._place[0])
        self._connection.request("GET", f"{self._path}watch=1&resourceVersion={self.position}", headers=self._headers)
        self._answer = self._connection.getresponse()

    def close(self) -> None:
        """End it."""
        self._connection.close()

    def read(self, until: Callable[[Document], bool]) -> list[Document]:
        """Return the states that it is told of up to one, over as many connections as that takes.

        Raises:
            GoneError: the server says that it can't go on from the position.
        """
        found: list[Document] = []
        while not found or not until(found[-1]):
            line = self._line()
            if line:
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise GoneError(event["object"]["code"])
                found.append(event["object"])
                self.position = event["object"]["metadata"]["resourceVersion"]
            else:
                self.close()
                self.open()
        return found

    def _line(self) -> bytes:
        if self._answer.status != HTTPStatus.OK:
            raise GoneError(self._answer.status)
        try:
            return self._answer.readline()
        except (http.client.HTTPException, OSError):
            return b""  # the server ends a connection that takes nothing for long
