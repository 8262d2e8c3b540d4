"""What a process says that is started often, and logs without the time that `logs` takes to be imported.

    records = Records(__name__)
    records.warning("a connection could not be accepted", reason=str(error))

A record is what `logs` writes for machines: one JSON object a line on standard error. Who started the process passes it
on as its own logs are set (`logs.pass_on`). In a process that logs by itself, `logs` takes the records (`hand_to`), so
what runs in processes of both kinds says everything in this way.
Owns the form of a record, and how one is read. Does not own levels, styles, or where a log goes.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

from skerry.kit.clock import SystemClock

Record = dict[str, Any]

#: The end of a traceback that a record has, in characters: with it, it is one line for whoever passes it on.
TRACEBACK_MAX = 8192
#: What makes a line a record.
_NEEDED = frozenset({"event", "level", "timestamp"})
_CLOCK = SystemClock()


def _write(level: str, logger: str, event: str, fields: Record) -> None:
    now = _CLOCK.now().isoformat().replace("+00:00", "Z")
    record = {**fields, "event": event, "level": level, "logger": logger, "timestamp": now}
    sys.stderr.write(f"{json.dumps(record, default=repr)}\n")
    sys.stderr.flush()


class _Taken:
    """Who takes what is said in this process."""

    by: Callable[[str, str, str, Record], None] = staticmethod(_write)


def hand_to(take: Callable[[str, str, str, Record], None]) -> None:
    """Have somebody else take what is said in this process from now on: level, logger, sentence, fields."""
    _Taken.by = staticmethod(take)


class Records:
    """Says what a module has to say, as its logger would.

    Args:
        name: of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **fields: Any) -> None:
        """Tell a change of state: a constant sentence, and fields."""
        _Taken.by("info", self._name, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tell what is degraded, and handled."""
        _Taken.by("warning", self._name, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Tell what somebody must act on."""
        _Taken.by("error", self._name, event, fields)

    def defect(self, event: str, error: BaseException) -> None:
        """Tell of an error that nobody expected, with its traceback."""
        self.error(event, exception="".join(traceback.format_exception(error)).rstrip()[-TRACEBACK_MAX:])


def record_in(line: str) -> Record | None:
    """Return the record that a line is; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        found: Record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if found.keys() >= _NEEDED else None


def words_of(line: str) -> str:
    """Return a line as a person would say it: of a record its sentence, its reason and its traceback."""
    record = record_in(line)
    if record is None:
        return line
    reason, trace = record.get("reason"), record.get("exception")
    return f"{record['event']}{f': {reason}' if reason else ''}" + (f"\n{trace}" if trace else "")
