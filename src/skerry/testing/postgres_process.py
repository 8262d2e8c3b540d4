"""A real PostgreSQL as a process of its own, on a Unix socket in a folder that goes with it.

with PostgresProcess.started() as postgres:
    url = postgres.create_schema()
"""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

from skerry.testing.waiting import until

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.02
#: PostgreSQL does not run as root.
UNPRIVILEGED = "nobody"
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # within a folder that is closed to others
    "max_connections": "200",
    "shared_buffers": "64MB",
}


class PostgresMissingError(Exception):
    """There is no PostgreSQL that can be run here; the message says what was looked for."""


@dataclass
class PostgresProcess:
    """A running server.

    Attributes:
        directory: its socket, its log and its data.
        process: what runs; None while it is stopped.
        options: more of its settings.
    """

    directory: Path
    options: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    @contextmanager
    def started(cls, *, parent: Path | None = None, fsync: bool = False) -> Iterator["PostgresProcess"]:
        """Run a new one for the length of the block.

        Args:
            parent: where its folder is made.
            fsync: whether it syncs its disk; a killed process loses nothing without, a machine does.

        Raises:
            PostgresMissingError: there is no PostgreSQL.
        """
        directory = Path(tempfile.mkdtemp(prefix="skerry-postgres-", dir=parent))
        try:
            server = cls(directory, {"fsync": "on" if fsync else "off"})
            server._initialize()
            server.start()
            try:
                yield server
            finally:
                server.stop()
        finally:
            shutil.rmtree(directory)

    def url(self, database: str) -> str:
        """Return how a database is reached."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def execute(self, statement: str, *parameters: Any, database: str = "postgres") -> list[Any]:
        """Run a statement in a database and return its rows."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.url(database))
            try:
                return list(await connection.fetch(statement, *parameters))
            finally:
                await connection.close()

        with ThreadPoolExecutor(1, "postgres-process") as executor:  # the caller's thread may have an event loop
            return executor.submit(asyncio.run, run()).result()

    def create_schema(self) -> str:
        """Make a place for a log of its own, in a moment, and return its URL."""
        name = f"schema_{secrets.token_hex(8)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url('postgres')}&search_path={name}"

    def start(self) -> None:
        """Start it on its data, and wait until it answers."""
        options = {**_OPTIONS, **self.options, "unix_socket_directories": str(self.directory)}
        flags = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", str(self.directory / "data"), *flags],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **_as_user(),
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"postgres ended:\n{(self.directory / 'log').read_text()}")
            try:
                self.execute("SELECT 1")
            except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError):
                time.sleep(POLL_SECONDS)
            else:
                return
        raise AssertionError(f"postgres is not ready:\n{(self.directory / 'log').read_text()}")

    def kill(self) -> None:
        """End it with SIGKILL, its sessions with it, as when its machine stops."""
        if self.process is not None:
            pid = self.process.pid
            self.process.send_signal(signal.SIGSTOP)  # it begins no session that would not be known here
            # Each session's process leads a group of its own, and would live on for a moment: with the memory that they
            # share, without which no other server starts on the data.
            sessions = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            for each in (*sessions, pid):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            self.process.wait(STOP_SECONDS_MAX)
            until(lambda: all(map(_has_ended, sessions)), "its sessions have ended")
            self.process = None

    def stop(self) -> None:
        """End it, and its sessions, in good order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def _initialize(self) -> None:
        user = _as_user()
        if user:
            os.chown(self.directory, user["user"], user["group"])
        try:
            done = subprocess.run(
                [
                    *(program("initdb"), "-D", str(self.directory / "data"), "--username=postgres", "--auth=trust"),
                    *("--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"),
                ],
                capture_output=True,
                text=True,
                timeout=START_SECONDS_MAX,
                check=False,
                **user,
            )
        except PermissionError as error:
            raise PostgresMissingError(f"{program('initdb')} can't be run as {UNPRIVILEGED}: {error}") from error
        if done.returncode:
            raise AssertionError(f"initdb failed:\n{done.stdout}{done.stderr}")


@cache
def program(name: str) -> str:
    """Return the program beside this Python (`make setup-dev` puts it there), else the one on the PATH.

    Raises:
        PostgresMissingError: there is none.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise PostgresMissingError(f"{name} is missing: install Debian's package postgresql, run `make setup-dev`")
    return str(Path(found).resolve())


def _has_ended(pid: int) -> bool:
    """Tell whether a process has let go of all that it had; its parent may not have heard of it yet (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return True


def _as_user() -> dict[str, Any]:
    """Return as whom a process runs, where this one runs as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
