"""Machines of their own for processes of a test: each has its own network, name, and what else tells it from others.

with machine("box-1") as box:
    listener = box.listener()                                         a socket on its loopback, served by the test
    forked.start(["agent"], output=log, namespaces=box.namespaces)    runs there

They are namespaces of this machine, sharing its files, which takes root. What tells them apart is `machine-id-box-1`,
`boot-id-box-1` and `product-uuid-box-1`, where the kernel and the system have these. Where none can be had, it is this
machine as it is.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry.testing.forking import enter
from skerry.testing.waiting import SECONDS_MAX

#: Runs in the namespaces: has loopback up and the identity in place, says so, and stays until its input ends.
_SCRIPT = r"""
import fcntl, pathlib, socket, struct, subprocess, sys, tempfile
name = sys.argv[1]
socket.sethostname(name)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:  # ip link set lo up
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))
def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)
uuid = pathlib.Path("/sys/class/dmi/id/product_uuid")
if not uuid.exists():
    mount("-t", "tmpfs", "tmpfs", "/sys/class")
    uuid.parent.mkdir(parents=True)
    uuid.touch()
for place in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id", str(uuid)):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{pathlib.Path(place).name.replace('_', '-')}-{name}\n")
        file.flush()
        mount("--bind", file.name, place)
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Machine:
    """Where processes run.

    Attributes:
        pid: of a process that is there; 0 for the machine of the test.
    """

    pid: int = 0

    @property
    def namespaces(self) -> tuple[str, ...]:
        """What a process has to be in to be there."""
        return tuple(f"/proc/{self.pid}/ns/{kind}" for kind in ("net", "uts", "mnt")) if self.pid else ()

    def listener(self) -> socket.socket:
        """Listen on a free port of its loopback."""
        made: list[socket.socket] = []

        def listen() -> None:
            for namespace in self.namespaces[:1]:
                enter(namespace)  # which this thread alone does
            made.append(socket.create_server(("127.0.0.1", 0)))

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
        return made[0]

    def run(self, *command: str) -> str:
        """Run a command there, and return what it prints."""
        prefix = ("nsenter", f"--target={self.pid}", "--net", "--uts", "--mount", "--") if self.pid else ()
        done = subprocess.run([*prefix, *command], capture_output=True, text=True, check=False, timeout=SECONDS_MAX)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout


#: The machine that the test runs on.
HERE = Machine()


@contextmanager
def machine(name: str) -> Iterator[Machine]:
    """Have a machine for the length of the block: of its own for root, else `HERE`; its name tells it from others."""
    if os.geteuid() != 0 or not Path("/etc/machine-id").exists():
        yield HERE
        return
    command = ["unshare", "--net", "--uts", "--mount", sys.executable, "-c", _SCRIPT, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            if not holder.stdout or holder.stdout.readline() != "ready\n":
                yield HERE  # a container may have root, and no right to this
                return
            yield Machine(holder.pid)
        finally:
            if holder.stdin:
                holder.stdin.close()
