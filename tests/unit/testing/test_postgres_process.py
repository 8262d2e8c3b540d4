"""A PostgreSQL of tests that is killed."""

import asyncio
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from skerry.testing.postgres_process import PostgresMissingError, PostgresProcess

#: So many that one of them is seen where they are not waited for.
SESSIONS = 40


def state_of(pid: int) -> str:
    """Return the letter for what a process does (proc(5)); "" where there is none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


async def test_a_server_that_was_killed_has_left_no_session_so_another_one_starts_on_its_data() -> None:
    try:
        with PostgresProcess.started() as postgres:
            sessions = [await asyncpg.connect(postgres.url("postgres")) for _ in range(SESSIONS)]
            pids = [session.get_server_pid() for session in sessions]
            postgres.kill()
            assert {state_of(pid) for pid in reversed(pids)} <= {"", "Z", "X"}  # those first that had least time
            await asyncio.to_thread(postgres.start)
            for session in sessions:
                session.terminate()
    except PostgresMissingError as error:
        pytest.skip(str(error))
