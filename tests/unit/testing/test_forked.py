"""Processes of tests that do not end."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.testing import forked
from skerry.testing.forking import NUMBER
from skerry.testing.waiting import until

#: As a process that was forked, it knows the signal for stacks; and it passes over SIGTERM.
DEAF = """
import faulthandler, signal, time
from skerry.testing.forking import STACKS_SIGNAL

faulthandler.register(STACKS_SIGNAL, file=1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def hang():
    print("hangs here", flush=True)
    time.sleep(3600)

hang()
"""


def test_a_process_that_does_not_end_is_killed_and_the_failure_tells_what_it_printed_and_where_it_was(
    tmp_path: Path,
) -> None:
    path = tmp_path / "output"
    with path.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=output)
    until(lambda: "hangs here" in path.read_text(), "it ignores SIGTERM")
    with pytest.raises(forked.NotEndedError, match=r"(?s)0\.1 s after SIGTERM:.*hangs here.*in hang"):
        forked.end(process, signal.SIGTERM, path.read_text, seconds_max=0.1)
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_ends_says_how() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    assert forked.end(process, signal.SIGTERM, str, seconds_max=60) == -signal.SIGTERM


def test_a_process_that_has_ended_and_is_not_heard_of_yet_is_sent_no_signal() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told, connection = socket.socketpair()
    with told:
        process = forked.ForkedProcess(gone.pid, connection)
        process.kill()
        told.sendall(NUMBER.pack(3))
        assert process.wait(60) == 3
