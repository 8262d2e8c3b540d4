"""Durations as Go and the Gateway API write them: `30s`, `1m30s`, `250ms`."""

import re
from functools import lru_cache

#: Durations that are at hand: nearly all that come are a default, or a configuration's.
_TEXTS_REMEMBERED = 256
_UNITS_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0")

#: What an error says is accepted.
ACCEPTED = 'a duration such as "30s", "1m30s" or "250ms" (units: ns, us, ms, s, m, h)'


@lru_cache(_TEXTS_REMEMBERED)
def parse_seconds(text: str) -> float:
    """Return a duration in seconds; raises ValueError with what is accepted."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"must be {ACCEPTED}")
    return sum(float(number) * _UNITS_SECONDS[unit] for number, unit in _PART.findall(text))


def humanize(seconds: float) -> str:
    """Write an age as kubectl does: `45s`, `3m12s`, `5h`, `2d`, `1y40d`."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{_rest(whole % 60, 's')}"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{_rest(minutes % 60, 'm')}"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{_rest(hours % 24, 'h')}"
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return f"{days // 365}y{_rest(days % 365, 'd')}"
    return f"{days // 365}y"


def _rest(number: int, unit: str) -> str:
    return f"{number}{unit}" if number else ""
