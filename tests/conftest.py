"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from skerry.testing.postgres_process import PostgresMissingError, PostgresProcess

#: `make fuzz`: tests that set no number of examples of their own take this many.
settings.register_profile("fuzz", max_examples=5000)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop that Skerry is written for."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    """One PostgreSQL for all tests of this process, which take schemas of their own."""
    try:
        with PostgresProcess.started() as server:
            yield server
    except PostgresMissingError as error:
        pytest.skip(str(error))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their length: what was packed a second later is named alike in every process of a run."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 8 else None
