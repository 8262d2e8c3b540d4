"""The compaction policy decides: both bounds hold."""

import pytest

from skerry.kit.errors import ConfigurationError
from skerry.store.compaction import Compactor
from skerry.store.log import Key, LogSettings, open_log
from skerry.store.memory import open_memory
from skerry.store.settings import CompactionPolicy

POLICY = CompactionPolicy(keep_revisions=100, keep_seconds=300, interval_seconds=60)


def test_nothing_is_compacted_before_the_history_is_old_enough() -> None:
    compactor = Compactor(POLICY)
    looks = [compactor.look(revision=1_000, now_seconds=60.0 * turn) for turn in range(5)]
    assert looks == [0] * 5


def test_revisions_older_than_the_time_kept_are_compacted() -> None:
    compactor = Compactor(POLICY)
    looks = [compactor.look(revision=1_000 * turn, now_seconds=60.0 * turn) for turn in range(1, 9)]
    assert looks == [0, 0, 0, 0, 0, 1_000, 2_000, 3_000]


def test_the_last_revisions_stay_however_old() -> None:
    compactor = Compactor(POLICY)
    for turn in range(10):
        target = compactor.look(revision=150, now_seconds=60.0 * turn)
    assert target == 50


def test_a_short_log_is_never_compacted() -> None:
    compactor = Compactor(POLICY)
    assert {compactor.look(revision=80, now_seconds=60.0 * turn) for turn in range(20)} == {0}


async def test_the_log_applies_its_policy_by_itself() -> None:
    policy = CompactionPolicy(keep_revisions=2, keep_seconds=0.01, interval_seconds=0.01)
    async with open_memory() as driver, open_log(driver, LogSettings(compaction=policy)) as log:
        revision = 0
        for _ in range(10):
            revision = await log.put(Key("secrets", "", "a"), b"", expected_revision=revision)
        async with log.watch("none", after_revision=revision, progress_seconds=0.01) as watch:
            async for _ in watch:
                if await log.compacted_revision() == revision - 2:
                    break


@pytest.mark.parametrize("name", ["keep_revisions", "keep_seconds", "interval_seconds"])
def test_a_bound_of_zero_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}=0"):
        CompactionPolicy(**{name: 0})
