"""Which lines of an instance's log somebody wants, as the command `logs` says it: Kubernetes' options of pods. Pure.

Source: `LogsOptions` of Baetyl's ami.go, whose members have the names of the structure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skerry.api.model import Document
from skerry.fleet.reports import ReportRefused

#: Lines that are told at most before following, and bytes where nothing else is said.
TAIL_LINES_MAX = 100_000
LIMIT_BYTES_DEFAULT = 64 * 1024 * 1024
#: No log is older, and no calendar goes on for ever.
SINCE_SECONDS_MAX = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class LogWish:
    """Which lines, and how they are told.

    Attributes:
        follow: go on with new lines.
        previous: those from before, where the log was begun anew.
        timestamps: put its time before each line.
        tail_lines: begin with this many of the newest; None for all that are kept.
        since_seconds: only lines not older than this; None for any.
        limit_bytes: end after this many bytes.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    limit_bytes: int = LIMIT_BYTES_DEFAULT

    def document(self) -> Document:
        """Return the content of a command."""
        told = {
            "Follow": self.follow,
            "Previous": self.previous,
            "Timestamps": self.timestamps,
            "TailLines": self.tail_lines,
            "SinceSeconds": self.since_seconds,
            "LimitBytes": self.limit_bytes,
        }
        return {name: value for name, value in told.items() if value is not None}


def read_log_wish(content: Any) -> LogWish:
    """Read the content of a command; raises ReportRefused, which names what can't be."""
    given: Mapping[str, Any] = content if isinstance(content, dict) else {}
    return LogWish(
        follow=bool(given.get("Follow")),
        previous=bool(given.get("Previous")),
        timestamps=bool(given.get("Timestamps")),
        tail_lines=None if (lines := _number(given, "TailLines")) is None else min(lines, TAIL_LINES_MAX),
        since_seconds=None if (since := _number(given, "SinceSeconds")) is None else min(since, SINCE_SECONDS_MAX),
        limit_bytes=min(_number(given, "LimitBytes") or LIMIT_BYTES_DEFAULT, LIMIT_BYTES_DEFAULT),
    )


def _number(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ReportRefused(f"{name}: {value!r} is no number from 0 on")
    return value
