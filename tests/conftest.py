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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured, such as how long a fault was felt."""
    reports = [report for report in terminalreporter.stats.get("passed", ()) if report.user_properties]
    if reports:
        terminalreporter.section("measured")
    for report in reports:
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.user_properties)
        terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {told}")
