"""Processes of `skerry` that are forked from one which has imported everything, so that a start costs no imports.

    process = start(["up", "--data-dir", "d"], environment, output=file)
    code = process.wait(60)

The tests start hundreds; imports were most of what a command took, and half of `skerry up`. What is forked is a process
of its own in all that a test can see: its id, signals, files, environment and exit code, and it runs and ends as
`python -m skerry` does. What it shares is memory as it was after the imports (`testing.forking`).
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

from skerry.testing.forking import NUMBER, STACKS_SIGNAL

END_SECONDS_MAX = 60.0
#: How long a process may take to tell its stacks, and after which pause it has told all of them.
STACKS_SECONDS_MAX, STACKS_PAUSE_SECONDS = 30.0, 0.5
#: Of what a process printed that did not end: its log, which tells what still ran, and the stacks of its threads.
TOLD_CHARACTERS_MAX = 20_000


class NotEndedError(AssertionError):
    """A process did not end when it was told to; what it printed last, and where it was, is in the message."""


@dataclass
class ForkedProcess:
    """A running process, with the methods of `subprocess.Popen` that tests use.

    Attributes:
        pid: its process id.
        returncode: how it ended, or None; minus the number of the signal that ended it.
    """

    pid: int
    _connection: socket.socket
    returncode: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> int | None:
        """Return how it ended, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return how; raises subprocess.TimeoutExpired."""
        with self._lock:
            if self.returncode is None:
                self._connection.settimeout(timeout)
                try:
                    self.returncode = _read_number(self._connection)
                except (TimeoutError, BlockingIOError) as error:
                    raise subprocess.TimeoutExpired("skerry", timeout or 0) from error
                self._connection.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since, which is about to be told
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def end(
    process: "ForkedProcess | subprocess.Popen[bytes]", number: int, output: Callable[[], str], *, seconds_max: float
) -> int:
    """End a process with a signal, and return how it ended.

    Args:
        process: the process.
        number: the signal.
        output: returns what it has printed.
        seconds_max: how long it may take.

    Raises:
        NotEndedError: it did not end in time; it is killed then.
    """
    process.send_signal(number)
    try:
        return process.wait(seconds_max)
    except subprocess.TimeoutExpired:
        _have_stacks_told(process, output)
        process.kill()
        process.wait(END_SECONDS_MAX)
    name = signal.Signals(number).name
    told = output()[-TOLD_CHARACTERS_MAX:]
    raise NotEndedError(f"the process {process.pid} had not ended {seconds_max:g} s after {name}:\n{told}")


def _have_stacks_told(process: "ForkedProcess | subprocess.Popen[bytes]", output: Callable[[], str]) -> None:
    """Have a process print where its threads are, and wait until it prints no more."""
    before = told = len(output())
    process.send_signal(STACKS_SIGNAL)  # one that is not forked does not know it, and ends
    until_seconds = time.monotonic() + STACKS_SECONDS_MAX
    while time.monotonic() < until_seconds:
        with suppress(subprocess.TimeoutExpired):
            process.wait(STACKS_PAUSE_SECONDS)
            return
        told, seen = len(output()), told
        if before < told == seen:
            return


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    output: IO[bytes],
    namespaces: Sequence[str] = (),
) -> ForkedProcess:
    """Start `skerry ARGUMENTS`, whose output and errors go into a file.

    Args:
        arguments: of the command.
        environment: all of its variables; those of this process by default.
        output: the file.
        namespaces: that it runs in, such as /proc/1/ns/net, beside those of this process.
    """
    with Path(os.devnull).open("rb") as nothing:
        return _start(arguments, environment, (nothing, output, output), namespaces)


def start_anew(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, *, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start `skerry ARGUMENTS` by the command that is installed, as `start` but with all that a start is."""
    command = [str(Path(sys.executable).with_name("skerry")), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)


def run(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, *, stdin: str = "", timeout_seconds: float
) -> Outcome:
    """Run `skerry ARGUMENTS` to its end, as `start`; raises subprocess.TimeoutExpired, and ends it then."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        process = _start(arguments, environment, (given, out, err))
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return Outcome(code, _written(out), _written(err))


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _start(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None,
    files: Sequence[IO[bytes]],
    namespaces: Sequence[str] = (),
) -> ForkedProcess:
    taken = dict(os.environ if environment is None else environment)  # noqa: TID251 - handed on, not read
    asked = {"arguments": list(arguments), "environment": taken, "folder": str(Path.cwd())}
    request = json.dumps({**asked, "namespaces": list(namespaces)})
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_forking())
    content = request.encode()
    socket.send_fds(connection, [NUMBER.pack(len(content))], [file.fileno() for file in files])
    connection.sendall(content)
    return ForkedProcess(_read_number(connection), connection)


@cache
def _forking() -> str:
    """Start the process that forks, and return its socket; it ends with this process."""
    command = [sys.executable, "-m", "skerry.testing.forking"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - likewise
    with process.stdout as told:
        address = told.readline().strip()
    if not address:
        raise RuntimeError(f"the process that forks ended with {process.wait(END_SECONDS_MAX)}")

    def end(stdin: IO[str]) -> None:
        stdin.close()
        process.wait(END_SECONDS_MAX)

    atexit.register(end, process.stdin)
    return address


def _read_number(connection: socket.socket) -> int:
    data = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    if len(data) < NUMBER.size:
        raise ConnectionError("the process that forks has ended")
    number: int = NUMBER.unpack(data)[0]
    return number
