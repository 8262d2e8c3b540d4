"""Who does what an object asks for, where several processes could: a claim in the object's status, with a lease.

It is taken and renewed by compare-and-swap of the object, so one process has it. Who holds one renews it while it is
at work. Another one may take over once the lease has ended; so clocks of machines are to agree within that time.
"""

import datetime as dt

from skerry.api.model import Model, Time
from skerry.kit.clock import from_rfc3339, rfc3339

#: Far beyond every lease. A claim that would hold for longer was written by a clock that has been set back since.
CLAIM_SECONDS_MAX = 600.0


class Claim(Model):
    """Who is at work."""

    holder: str
    """The process, by an id of its own."""
    until: Time
    """When another one may take over, unless it is renewed."""

    def seconds_left(self, now: dt.datetime) -> float:
        """Return how much of the lease is left; 0 or less where it has ended, or is of a clock that was set back."""
        seconds = (from_rfc3339(self.until) - now).total_seconds()
        return seconds if seconds <= CLAIM_SECONDS_MAX else 0.0


def claimed(holder: str, now: dt.datetime, *, lease_seconds: float) -> Claim:
    """Return a claim that holds for the length of a lease from now on."""
    return Claim(holder=holder, until=rfc3339(now + dt.timedelta(seconds=lease_seconds)))


def is_taken(claim: Claim | None, holder: str, now: dt.datetime) -> bool:
    """Tell whether another one than `holder` has a claim that still holds."""
    return claim is not None and claim.holder != holder and claim.seconds_left(now) > 0
