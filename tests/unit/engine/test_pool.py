"""The pool's rules, with instances that are only names."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from skerry.engine.code import Code
from skerry.engine.errors import ConcurrencyError, LoadError, OverloadedError, UnknownRevisionError
from skerry.engine.instances import FunctionInstance
from skerry.engine.javascript_guest import INSTANCE_BYTES
from skerry.engine.leases import Lease
from skerry.engine.manifest import FunctionManifest, read_manifest, remove_manifest, write_manifest
from skerry.engine.pool import WAITING_PER_RUNNING, InstancePool, PoolLimits
from skerry.gateway.backends import FUNCTION_TIMEOUT_MARGIN_SECONDS

MIB = 1024 * 1024


@dataclass(eq=False)
class Named:
    """An instance that takes as much memory as is said here."""

    name: str
    memory_bytes: int = INSTANCE_BYTES
    counted_bytes: int = 0

    def __str__(self) -> str:
        return self.name


class Engine:
    """Counts what the pool asks for."""

    def __init__(self, functions_dir: Path) -> None:
        self.functions_dir = functions_dir
        self.started: list[str] = []
        self.fails = False
        self.waits = 0

    def before_wait(self) -> None:
        self.waits += 1

    def load(self, revision: str) -> tuple[FunctionManifest, Code]:
        return read_manifest(self.functions_dir, revision), cast("Code", None)

    def start(self, manifest: FunctionManifest, _code: Code) -> FunctionInstance:
        if self.fails:
            raise LoadError("it throws")
        self.started.append(manifest.revision)
        return cast("FunctionInstance", Named(f"{manifest.revision}#{len(self.started)}"))


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    for name in ("a-1", "a-2", "b-1"):
        deploy(tmp_path, name)
    return Engine(tmp_path)


def deploy(functions_dir: Path, revision: str, **limits: Any) -> None:
    function = revision.partition("-")[0]
    manifest = FunctionManifest(revision=revision, function=function, artifact=Path("/x"), **limits)
    write_manifest(functions_dir, manifest)


@pytest.fixture
def make(engine: Engine) -> Callable[..., InstancePool]:
    def build(*, concurrency_max: int = 16, **limits: float) -> InstancePool:
        for name in ("a-1", "a-2", "b-1"):
            deploy(engine.functions_dir, name, concurrency_max=concurrency_max)
        given = PoolLimits(**limits)  # type: ignore[arg-type]
        return InstancePool(
            engine.functions_dir, engine.load, engine.start, limits=given, before_wait=engine.before_wait
        )

    return build


Make = Callable[..., InstancePool]


def test_an_instance_that_answered_is_used_again(make: Make):
    pool = make()
    with pool.lease("a-1") as first:
        pass
    with pool.lease("a-1") as second:
        assert second.instance is first.instance
    assert pool.statistics()["cold_starts_total"] == 1


def test_an_instance_never_serves_another_revision(make: Make, engine: Engine):
    pool = make()
    with pool.lease("a-1"), pool.lease("a-2"):
        pass
    with pool.lease("a-2") as lease:
        assert str(lease.instance).startswith("a-2")
    assert engine.started == ["a-1", "a-2"]


def test_a_failed_call_takes_its_instance_with_it(make: Make):
    pool = make()
    with pytest.raises(ZeroDivisionError), pool.lease("a-1"):
        raise ZeroDivisionError
    assert pool.statistics()["instances"] == 0
    with pool.lease("a-1") as lease:
        lease.discard()
    assert pool.statistics()["instances"] == 0


def test_a_lease_that_goes_on_keeps_its_instance_until_its_second_block_ends(make: Make):
    pool = make()
    with pool.lease("a-1") as lease:
        lease.goes_on = True
    assert pool.statistics()["instances_idle"] == 0
    with lease:
        pass
    assert pool.statistics()["instances_idle"] == 1


def test_an_instance_that_does_not_start_takes_no_place(make: Make, engine: Engine):
    pool = make(instances_max=1)
    engine.fails = True
    for _ in range(3):
        with pytest.raises(LoadError), pool.lease("a-1"):
            pass
    assert pool.statistics()["instances"] == 0


def test_a_full_pool_drops_an_idle_instance_of_another_revision(make: Make):
    pool = make(instances_max=2)
    with pool.lease("a-1"):
        pass
    with pool.lease("a-2"):
        pass
    with pool.lease("b-1"):
        assert pool.statistics()["instances"] == 2
    with pool.lease("a-2"):
        assert pool.statistics()["cold_starts_total"] == 3  # a-1, asked for least recently, was the one to go


def grow(lease: Lease, bytes_: int) -> None:
    cast("Named", lease.instance).memory_bytes = bytes_


def test_over_the_memory_limit_the_idle_instance_of_the_revision_asked_for_least_recently_goes(make: Make):
    pool = make(memory_bytes_max=50 * MIB)
    for name in ("a-1", "a-2", "b-1"):
        with pool.lease(name) as lease:
            grow(lease, 20 * MIB)
    assert pool.statistics()["instances_memory_bytes"] == 40 * MIB
    with pool.lease("a-2"), pool.lease("b-1"):
        assert pool.statistics()["cold_starts_total"] == 3


def test_an_instance_that_took_more_than_is_kept_is_dropped(make: Make):
    pool = make(kept_bytes_max=20 * MIB)
    with pool.lease("a-1") as lease:
        grow(lease, 20 * MIB)
    assert pool.statistics()["instances_idle"] == 1
    with pool.lease("a-1") as lease:
        grow(lease, 20 * MIB + 1)
    assert pool.statistics()["instances"] == pool.statistics()["instances_memory_bytes"] == 0


def test_over_the_memory_limit_only_a_function_over_its_share_makes_room_and_is_refused(make: Make):
    pool = make(memory_bytes_max=30 * MIB)
    with pool.lease("b-1"):
        pass
    with pool.lease("a-1") as lease:
        grow(lease, 28 * MIB)
        assert pool.measure(lease.instance, "a")  # it must give memory back
        assert pool.statistics()["instances_idle"] == 1  # which is not taken from the other
        with pytest.raises(OverloadedError, match="hold all of the 30 MiB"), pool.lease("a-2"):
            pass
        with pool.lease("b-1"), pool.lease("b-1") as started:
            assert not pool.measure(started.instance, "b")
        grow(lease, 10 * MIB)
        assert not pool.measure(lease.instance, "a")
    with pool.lease("a-1"), pool.lease("a-2"):
        pass


def test_a_request_that_waits_for_its_turn_is_not_refused_for_memory(make: Make):
    pool = make(memory_bytes_max=30 * MIB, concurrency_max=1, waiting_seconds_max=0.01)
    with pool.lease("a-1") as lease:
        grow(lease, 30 * MIB)
        pool.measure(lease.instance, "a")
        with pytest.raises(ConcurrencyError, match=r"within 0\.01 s"), pool.lease("a-1"):
            pass


def test_what_did_not_start_or_failed_holds_no_memory(make: Make, engine: Engine):
    pool = make()
    with pool.lease("a-1") as lease:
        grow(lease, 20 * MIB)
        lease.discard()
    engine.fails = True
    with pytest.raises(LoadError), pool.lease("a-1"):
        pass
    assert pool.statistics()["instances_memory_bytes"] == 0


def test_a_functions_concurrency_counts_all_of_its_revisions_and_no_other_function(make: Make):
    pool = make(concurrency_max=2, waiting_seconds_max=0.01)
    with ExitStack() as running:
        for name in ("a-1", "a-2", "b-1"):
            running.enter_context(pool.lease(name))
        with pytest.raises(ConcurrencyError, match="as it may, 2 in one worker"), pool.lease("a-1"):
            pass
    with pool.lease("a-1"), pool.lease("a-1"):
        pass


def test_with_as_many_running_and_waiting_as_may_the_next_is_refused_at_once(make: Make):
    pool = make(concurrency_max=1)
    with ThreadPoolExecutor(WAITING_PER_RUNNING) as threads:

        def wait() -> None:
            with pool.lease("a-1"):
                pass

        with pool.lease("a-1"):
            waiting = [threads.submit(wait) for _ in range(WAITING_PER_RUNNING)]
            while pool.statistics()["requests_waiting"] < WAITING_PER_RUNNING:
                pass
            with pytest.raises(ConcurrencyError, match="2 wait already"), pool.lease("a-1"):
                pass
        for each in waiting:
            each.result()


def test_where_threads_run_short_a_function_gets_its_share_of_them_and_one_share_stays_free(make: Make):
    pool = make(threads_max=12)
    with ExitStack() as running:
        for _ in range(6):  # alone, it may have half of them
            running.enter_context(pool.lease("a-1"))
        running.enter_context(pool.lease("b-1"))
        with pytest.raises(ConcurrencyError, match="of the worker's 12 threads"), pool.lease("a-1"):
            pass
        for _ in range(3):
            running.enter_context(pool.lease("b-1"))
        with pytest.raises(ConcurrencyError), pool.lease("b-1"):
            pass


def test_an_isolated_request_has_an_instance_that_no_other_had(make: Make, engine: Engine):
    pool = make()
    deploy(engine.functions_dir, "a-1", isolation="request")
    for _ in range(3):
        with pool.lease("a-1"):
            pass
    assert engine.started == ["a-1"] * 3
    assert pool.statistics()["instances"] == 0


def test_a_waiting_request_gets_the_instance_that_becomes_free_and_says_that_it_waits(make: Make, engine: Engine):
    pool = make(concurrency_max=1)
    got: list[object] = []

    def wait() -> None:
        with pool.lease("a-1") as lease:
            got.append(lease.instance)

    with pool.lease("a-1") as held:
        thread = threading.Thread(target=wait)
        thread.start()
        while not pool.statistics()["requests_waiting"]:
            pass
    thread.join()
    assert engine.waits == 1
    assert got == [held.instance]


def test_the_limits_hold_under_many_threads(make: Make):
    pool = make(instances_max=3, concurrency_max=8)
    over: list[int] = []

    def use(index: int) -> None:
        with pool.lease(("a-1", "a-2", "b-1")[index % 3]) as lease:
            if pool.statistics()["instances"] > 3:
                over.append(index)
            if index % 7 == 0:
                lease.discard()

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(use, range(500)))
    assert over == []
    statistics = pool.statistics()
    assert statistics["instances"] == statistics["instances_idle"] <= 3


def test_a_revision_whose_manifest_is_gone_is_dropped_and_then_unknown(make: Make, engine: Engine):
    pool = make()
    with ExitStack() as running:
        running.enter_context(pool.lease("a-1"))
        remove_manifest(engine.functions_dir, "a-1")
        pool.sweep()  # the running request goes on
        assert pool.statistics()["instances"] == 1
    assert pool.statistics()["instances"] == 0
    with pytest.raises(UnknownRevisionError), pool.lease("a-1"):
        pass


def test_a_revision_of_another_function_of_the_name_gets_instances_of_its_own(make: Make, engine: Engine):
    pool = make()
    with pool.lease("a-1") as before:
        pass
    write_manifest(engine.functions_dir, replace(before.manifest, uid="another"))
    pool.sweep()
    with pool.lease("a-1") as after:
        assert after.manifest.uid == "another"
        assert after.instance is not before.instance


def test_what_nobody_asks_for_is_dropped(make: Make):
    pool = make(idle_seconds_max=0)
    with pool.lease("a-1"):
        pass
    pool.sweep()
    assert pool.statistics() == {
        "revisions": 0,
        "instances": 0,
        "instances_idle": 0,
        "instances_memory_bytes": 0,
        "requests_running": 0,
        "requests_waiting": 0,
        "cold_starts_total": 1,
    }


def test_the_gateway_gives_a_request_up_only_after_it_can_have_waited_for_an_instance():
    assert PoolLimits().waiting_seconds_max < FUNCTION_TIMEOUT_MARGIN_SECONDS
