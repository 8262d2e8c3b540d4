"""How often Python looks for reference cycles in a process that holds many objects for long.

A full look stops the process for as long as it takes to visit every object: 100 ms with 10,000 resources at hand, and
by Python's defaults it came every few seconds under writes; that was the 99th percentile of every request. Almost
everything here is freed by its count of references; cycles are rare and small, so they may wait.
"""

import gc

#: Net new objects before the youngest are looked at, and how many such looks before the older ones are, and all.
THRESHOLDS = (20_000, 20, 20)


def look_for_cycles_rarely() -> None:
    """Leave what the start has made out of every look, and look at the rest less often; call it once, when ready."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
