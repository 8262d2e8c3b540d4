"""Every driver against a dict: any sequence of verbs, compactions and reopenings gives what a dict gives."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skerry.store.driver import Driver
from skerry.store.errors import Compacted, Conflict
from skerry.store.log import Event, Key, LogSettings, Progress, RevisionLog, Watch, open_log
from skerry.store.memory import open_memory
from skerry.store.postgres.driver import open_postgres
from skerry.store.sqlite import SqliteSettings, open_sqlite
from skerry.testing.postgres_process import PostgresProcess

SETTINGS = LogSettings(poll_seconds=3_600, progress_seconds=0.001, recent_events_max=3, batch_events=2)
KEYS = st.builds(Key, st.sampled_from(["secrets", "pods"]), st.sampled_from(["", "a", "b"]), st.sampled_from("xyz"))
VALUES = st.binary(max_size=3)
SHARES = st.floats(min_value=0, max_value=1)


class LogMachine(RuleBasedStateMachine):
    """The log beside its model: the list of all events, from which everything else follows."""

    durable: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.portal: BlockingPortal = self.stack.enter_context(start_blocking_portal())
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.opened = ExitStack()
        self.events: list[Event] = []
        self.compacted = 0
        self.watched = 0

    @initialize()
    def open(self) -> None:
        @asynccontextmanager
        async def both() -> Any:
            async with self.open_driver() as opened, open_log(opened, SETTINGS) as log:
                yield log

        self.log: RevisionLog = self.enter(both())
        self.follow(self.latest)

    def open_driver(self) -> AbstractAsyncContextManager[Driver]:
        raise NotImplementedError

    def enter(self, manager: AbstractAsyncContextManager[Any]) -> Any:
        return self.opened.enter_context(self.portal.wrap_async_context_manager(manager))

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return self.portal.call(partial(function, *arguments, **options))

    def teardown(self) -> None:
        self.opened.close()
        self.stack.close()

    @property
    def latest(self) -> int:
        return self.events[-1].revision if self.events else 0

    def state(self, revision: int) -> dict[Key, Event]:
        state: dict[Key, Event] = {}
        for event in self.events:
            if event.revision <= revision:
                state[event.key] = event
        return {key: event for key, event in state.items() if event.value is not None}

    def record(self, key: Key, revision: int, value: bytes | None, current: Event | None) -> None:
        assert revision > self.latest
        previous = current.value if current else None
        kind = "delete" if value is None else "put"
        self.events.append(Event(kind, key, revision, current is None, value, previous))  # type: ignore[arg-type]

    def visible_revision(self, share: float) -> int:
        """Pick a revision that may be asked for."""
        return self.compacted + round(share * (self.latest - self.compacted))

    @rule(key=KEYS, value=VALUES)
    def put(self, key: Key, value: bytes) -> None:
        current = self.state(self.latest).get(key)
        expected = current.revision if current else 0
        self.record(key, self.call(self.log.put, key, value, expected_revision=expected), value, current)

    @rule(key=KEYS)
    def delete(self, key: Key) -> None:
        current = self.state(self.latest).get(key)
        if current is not None:
            revision = self.call(self.log.delete, key, expected_revision=current.revision)
            self.record(key, revision, None, current)

    @rule(key=KEYS, wrong=st.integers(min_value=1, max_value=50))
    def put_at_a_wrong_revision(self, key: Key, wrong: int) -> None:
        current = self.state(self.latest).get(key)
        if wrong != (current.revision if current else 0):
            with pytest.raises(Conflict):
                self.call(self.log.put, key, b"", expected_revision=wrong)

    @rule(key=KEYS)
    def get(self, key: Key) -> None:
        entry = self.call(self.log.get, key)
        expected = self.state(self.latest).get(key)
        assert (entry and (entry.revision, entry.value)) == (expected and (expected.revision, expected.value))

    @rule(share=SHARES, limit=st.integers(1, 4), namespace=st.sampled_from([None, "", "a"]), put=st.booleans())
    def list_in_pages(self, share: float, limit: int, namespace: str | None, put: bool) -> None:  # noqa: FBT001
        revision = self.visible_revision(share)
        list_page = partial(self.log.list, "secrets", namespace=namespace, revision=revision, limit=limit)
        expected = sorted(
            (key.namespace, key.name, event.revision, event.value)
            for key, event in self.state(revision).items()
            if key.resource == "secrets" and namespace in {None, key.namespace}
        )
        found: list[Any] = []
        more = True
        while more:
            page = self.call(list_page, after=found[-1][:2] if found else None)
            found += [(e.key.namespace, e.key.name, e.revision, e.value) for e in page.entries]
            assert page.remaining == (len(expected) - len(found) if len(found) <= limit else None)
            assert page.more == (len(found) < len(expected))
            more = page.more
            if put and more:
                self.put(Key("secrets", "a", "x"), b"between")
        assert found == expected

    @rule(share=SHARES)
    def watch_from(self, share: float) -> None:
        start = self.visible_revision(share)
        with self.portal.wrap_async_context_manager(self.log.watch("pods", after_revision=start)) as watch:
            found = self.call(self.collect, watch, self.latest)
        assert found == [e for e in self.events if e.revision > start and e.key.resource == "pods"]

    async def collect(self, watch: Watch, revision: int) -> list[Event]:
        found: list[Event] = []
        async for item in watch:
            if not isinstance(item, Progress):
                found += item
            elif item.revision >= revision:
                return found
        raise AssertionError("the watch ended early")

    def follow(self, revision: int) -> None:
        """Keep one watch open across steps."""
        self.watch: Watch = self.enter(self.log.watch(None, after_revision=revision))
        self.watched = revision

    @rule()
    def read_the_open_watch(self) -> None:
        try:
            found = self.call(self.collect, self.watch, self.latest)
        except Compacted:
            assert self.watched < self.compacted
            self.follow(self.latest)
            return
        assert found == [event for event in self.events if event.revision > self.watched]
        self.watched = self.latest

    @rule(share=SHARES)
    def compact(self, share: float) -> None:
        self.compacted = self.visible_revision(share)
        self.call(self.log.compact, self.compacted)

    @precondition(lambda self: self.compacted > 0)
    @rule()
    def a_compacted_revision_is_refused(self) -> None:
        with pytest.raises(Compacted):
            self.call(self.log.list, "secrets", revision=self.compacted - 1, limit=None)

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        self.opened.close()
        self.open()

    @invariant()
    def the_bounds_are_those_of_the_model(self) -> None:
        if hasattr(self, "log"):
            assert self.call(self.log.revision) == self.latest
            assert self.call(self.log.compacted_revision) == self.compacted


class MemoryMachine(LogMachine):
    durable = False

    def open_driver(self) -> AbstractAsyncContextManager[Driver]:
        return open_memory()


class SqliteMachine(LogMachine):
    def open_driver(self) -> AbstractAsyncContextManager[Driver]:
        return open_sqlite(self.directory / "log.db", SqliteSettings(sole_writer=True))


class PostgresMachine(LogMachine):
    server: ClassVar[PostgresProcess]

    def __init__(self) -> None:
        super().__init__()
        self.url = self.server.create_schema()

    def open_driver(self) -> AbstractAsyncContextManager[Driver]:
        return open_postgres(self.url)


@pytest.fixture(scope="class")
def _server(postgres: PostgresProcess) -> None:
    PostgresMachine.server = postgres


BUDGET = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestMemory = MemoryMachine.TestCase
TestMemory.settings = BUDGET
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = BUDGET
TestPostgres = pytest.mark.usefixtures("_server")(PostgresMachine.TestCase)
TestPostgres.settings = settings(BUDGET, max_examples=20)
