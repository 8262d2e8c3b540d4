"""How often a node reports: as its control plane says, and four times as often while something happens.

Something happens while an instance is being started, and for a minute after anything changed here. A change itself is
reported at once, whatever the pace. A report that failed is tried again within the interval, so that a control plane
that was away has thousands of nodes back as soon as it would have heard of them, and not all at once. Pure, but for the
jitter: nodes that were started together are not to report together for ever.
"""

import random

from skerry.api.baetyl_v1alpha1 import REPORT_SECONDS_DEFAULT
from skerry.kit.backoff import Backoff

#: How much more often a node reports that is busy, and how often at most.
BUSY_FACTOR = 4
SECONDS_MIN = 1.0
#: How long a node counts as busy after the last change.
BUSY_SECONDS = 60.0
#: A wait is shorter by up to this share of it, never longer: a control plane counts on its interval.
JITTER = 0.1
#: How long until a failed report is tried again, at the longest; less where the interval is shorter.
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 1.0, 30.0
#: What a control plane may say.
TOLD_SECONDS_MAX = 3600


class Pace:
    """The pace of one node's reports.

    Args:
        own_seconds: the longest interval that this machine's own settings allow; None for any.
    """

    def __init__(self, own_seconds: int | None) -> None:
        self._own_seconds = own_seconds
        self._told_seconds = REPORT_SECONDS_DEFAULT
        self._changed_at = float("-inf")
        #: Between tries of a report that fails.
        self.retries = Backoff(first_seconds=RETRY_SECONDS_FIRST, jitter_share=1.0)
        self._bound_retries()

    @property
    def quiet_seconds(self) -> int:
        """The interval of a node where nothing happens."""
        return min(self._told_seconds, self._own_seconds or TOLD_SECONDS_MAX)

    def told(self, seconds: int) -> bool:
        """Take what the control plane says; tell whether that is something else than before."""
        before, self._told_seconds = self._told_seconds, min(max(seconds, 1), TOLD_SECONDS_MAX)
        self._bound_retries()
        return before != self._told_seconds

    def changed(self, now_seconds: float) -> None:
        """Take notice of a change, at a moment of a monotonic clock."""
        self._changed_at = now_seconds

    def next_seconds(self, now_seconds: float, *, pending: bool) -> float:
        """Return how long to wait for the next report.

        Args:
            now_seconds: of a monotonic clock.
            pending: whether an instance is being started.
        """
        seconds = float(self.quiet_seconds)
        if pending or now_seconds - self._changed_at < BUSY_SECONDS:
            seconds = min(seconds, max(SECONDS_MIN, seconds / BUSY_FACTOR))
        return seconds * random.uniform(1 - JITTER, 1)  # noqa: S311 - jitter is no secret

    def _bound_retries(self) -> None:
        self.retries.max_seconds = min(RETRY_SECONDS_MAX, float(self.quiet_seconds))
