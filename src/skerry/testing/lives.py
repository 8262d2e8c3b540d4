"""Programs that say which of their lives this is, and a book of what they said: for tests of what has to go on.

with Lives.kept({"n1": folder / "n1"}) as lives:      # a program that runs `ANSWERING` has made that socket
    lives.until_asked_for(60)
    assert lives.of("n1") == [first]                  # it has answered the whole minute, and was never restarted
"""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from skerry.testing.waiting import SECONDS_MAX, until

#: A Python program that answers on the socket that its first argument names, with an id of its life.
ANSWERING = """
import os, socket, sys, uuid
path, life = sys.argv[1], uuid.uuid4().hex
if os.path.exists(path):
    os.unlink(path)
with socket.socket(socket.AF_UNIX) as server:
    server.bind(path)
    server.listen()
    while True:
        asker, _ = server.accept()
        with asker:
            asker.sendall(life.encode())
"""
#: Stands for a time in which nobody answered.
GAP = ""
ASK_SECONDS = 0.2
_LIFE_BYTES_MAX = 64


class Lives:
    """The book, as `kept` yields it.

    Args:
        paths: of the sockets, by the names of those who answer there.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._said: dict[str, list[str]] = {name: [] for name in paths}
        self._asked_at = dict.fromkeys(paths, time.monotonic())
        self._ending = threading.Event()

    @classmethod
    @contextmanager
    def kept(cls, paths: Mapping[str, Path]) -> Iterator["Lives"]:
        """Ask each again and again for the length of the block, from when all have answered."""
        lives = cls(paths)
        until(lambda: all(_life(path) for path in paths.values()), "all answer")
        threads = [threading.Thread(target=lives._ask, args=(name,)) for name in paths]
        for thread in threads:
            thread.start()
        try:
            until(lambda: all(lives._said.values()), "all were asked")
            yield lives
        finally:
            lives._ending.set()
            for thread in threads:
                thread.join()

    def of(self, name: str) -> list[str]:
        """Return the lives of one, in their order, and a `GAP` wherever nobody answered."""
        return list(self._said[name])

    @contextmanager
    def ended(self, *names: str) -> Iterator[None]:
        """End the lives of some in the block; at its end, wait until they answer in others."""
        before = {name: {GAP, self._said[name][-1]} for name in names}
        yield
        for name in names:
            until(lambda name=name: self._said[name][-1] not in before[name], f"{name} answers anew")  # type: ignore[misc]

    def until_asked_for(self, seconds: float, *, since: float) -> None:
        """Wait until all have been asked, over so many seconds since a time of the monotonic clock."""
        end = since + seconds
        until(lambda: min(self._asked_at.values()) >= end, "all were asked for long enough")

    def _ask(self, name: str) -> None:
        said = self._said[name]
        while True:
            life = _life(self._paths[name])
            if said[-1:] != [life]:
                said.append(life)
            self._asked_at[name] = time.monotonic()
            if self._ending.wait(ASK_SECONDS):
                return


def _life(path: Path) -> str:
    """Return what is answered on a socket; `GAP` where nobody answers."""
    with socket.socket(socket.AF_UNIX) as asked, suppress(OSError):
        asked.settimeout(SECONDS_MAX)
        asked.connect(str(path))
        return asked.recv(_LIFE_BYTES_MAX).decode()
    return GAP
