"""What all tests share."""

import gc
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from skerry.testing.postgres_process import PostgresMissingError, PostgresProcess

# How long an example takes is no promise: a machine with other work is slow. Every run has the same examples, so that a
# test fails for what was changed; `make fuzz` looks for new ones, as many as a test that sets no number itself takes.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("fuzz", settings.get_profile("tests"), max_examples=5000, derandomize=False)
settings.load_profile("tests")


#: Files that take twenty seconds and more by themselves, the longest first; those that mostly wait stand between those
#: that compute, so that every core has work.
LONGEST = tuple(
    f"tests/{name}.py"
    for name in (
        "system/test_crashes",
        "system/test_containers",
        "system/test_edge_functions",
        "system/test_fleet_agents",
        "system/clients/test_openapi",
        "system/test_running_plugins",
        "system/test_replica_faults",
        "system/test_dispatch_functions",
        "system/test_secrets_at_rest",
        "system/gateway/test_component_filters",
        "system/test_dispatch_replicas",
        "system/engine/test_workers",
        "unit/server/test_hostile_requests",
        "contract/artifacts/test_npm",
        "system/test_fleet_joining",
        "system/test_hostile_functions",
        "system/test_event_drivers",
        "system/test_developing",
        "system/test_wasm_plugins",
        "system/test_function_sources",
        "system/test_native_functions",
        "contract/store/test_model",
        "system/test_fleet_gateways",
        "system/test_wasm_functions",
        "system/test_replicas",
        "system/test_deleting",
        "system/test_traffic",
        "system/test_dispatch_events",
        "contract/client/test_transport",
        "contract/store/test_watch",
        "unit/server/kube/test_any_input",
    )
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest: one process takes a file, and would run alone in the end if that began last."""
    items.sort(key=lambda item: _turn(item.path.relative_to(config.rootpath).as_posix()))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no cycles while a million objects of tests are made, of which none is garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Leave a million objects of collected tests out of every look for cycles that tests cause or ask for."""
    gc.collect()
    gc.freeze()


def _turn(file: str) -> int:
    if file in LONGEST:
        return LONGEST.index(file)
    return len(LONGEST) + (not file.startswith("tests/system/"))


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
