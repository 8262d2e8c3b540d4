import gc
from collections.abc import Iterator

import pytest

from skerry.kit.cycles import THRESHOLDS, look_for_cycles_rarely


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)


def test_what_the_start_made_is_left_out_of_every_later_look() -> None:
    look_for_cycles_rarely()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == THRESHOLDS
    assert gc.isenabled()
