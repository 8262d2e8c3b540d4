"""Time as a parameter: no other module of Skerry asks the operating system what time it is."""

import datetime as dt
import math
import time
from functools import lru_cache
from typing import Protocol

#: Seconds whose text is at hand: of what is written, most is of now.
_SECONDS_REMEMBERED = 64


class Clock(Protocol):
    """What a component needs of time. `testing.clock.FakeClock` is the other implementation."""

    def now(self) -> dt.datetime:
        """Return the wall clock, timezone-aware, in UTC."""
        ...

    def monotonic_seconds(self) -> float:
        """Return seconds that never go back, from an arbitrary origin."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> dt.datetime:
        """Return the wall clock, timezone-aware, in UTC."""
        return dt.datetime.now(dt.UTC)  # noqa: TID251 - the one place that may

    def monotonic_seconds(self) -> float:
        """Return seconds that never go back, from an arbitrary origin."""
        return time.monotonic()


def rfc3339(moment: dt.datetime) -> str:
    """Write a moment as Kubernetes does: UTC, whole seconds, a trailing Z."""
    return _second(math.floor(moment.timestamp()))


def rfc3339_micro(moment: dt.datetime) -> str:
    """Write a moment as Kubernetes writes its MicroTime: with six digits of the second, zeros too."""
    return f"{_second(math.floor(moment.timestamp()))[:-1]}.{moment.microsecond:06d}Z"


def rfc3339_milli(moment: dt.datetime) -> str:
    """Write a moment as ECMAScript does: with three digits of the second, zeros too."""
    return f"{_second(math.floor(moment.timestamp()))[:-1]}.{moment.microsecond // 1000:03d}Z"


@lru_cache(_SECONDS_REMEMBERED)
def _second(since_1970: int) -> str:
    return (_BEGINNING + dt.timedelta(seconds=since_1970)).strftime("%Y-%m-%dT%H:%M:%SZ")


_BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def from_rfc3339(text: str) -> dt.datetime:
    """Read what `rfc3339` wrote, or any RFC 3339 time; raises ValueError for other text."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time needs a zone: {text!r}")
    return moment
