"""What a process prints, as one that was started for it: how it logs is set once for all of it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from skerry.kit.logs import Style

#: What a child process prints: a bare line, two records, other JSON, a line without end, and half a line.
_SCRIPT = r"""
echo "engine: the disk is full" >&2
echo '{"event": "compiling", "level": "info", "logger": "engine", "timestamp": "2026-01-31T08:00:00Z"}'
echo '{"event": "no room", "level": "error", "logger": "engine", "bytes": 1, "timestamp": "2026-01-31T08:00:01Z"}'
echo '{"level": 3}'
head -c 40000 /dev/zero | tr '\0' x
echo
printf "half a line"
"""

#: Logs by itself and through a library, and has that child process; argv: the style, the level, the script.
_PROGRAM = """
import asyncio, logging, sys
from skerry.kit import logs
from skerry.kit.processes import Command, supervise

async def main() -> None:
    command = Command("engine-0", ["/bin/sh", "-c", sys.argv[3]], heard=True, restart="never")
    async with supervise(command) as process:
        async with asyncio.timeout(60):
            while process.exit_code is None:
                await asyncio.sleep(0.01)

logs.configure(style=sys.argv[1], level=sys.argv[2])
logs.get_logger("ours").error("the log is full", bytes=1)
try:
    raise OSError("no route")
except OSError:
    logging.getLogger("library").exception("it does not %s", "answer")
asyncio.run(main())
"""


def printed(style: Style, level: str = "INFO") -> list[str]:
    arguments = [sys.executable, "-c", _PROGRAM, style, level, _SCRIPT]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr.splitlines()


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed("json", level="ERROR")]


def _of_process(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record.get("process") == "engine-0"]


def test_a_line_of_a_child_process_is_a_record_that_names_it_at_every_level(records: list[dict[str, Any]]):
    line = next(record for record in _of_process(records) if "disk" in record["event"])
    assert line.pop("timestamp")
    assert line.pop("pid") > 1
    assert line == {"event": "engine: the disk is full", "process": "engine-0", "level": "warning"}


def test_a_record_of_a_child_process_is_one_of_ours_at_its_level_and_other_json_is_a_line(
    records: list[dict[str, Any]],
):
    (theirs,) = [record for record in records if record.get("logger") == "engine"]
    assert theirs.pop("pid") > 1
    assert theirs == {
        "event": "no room", "level": "error", "logger": "engine", "process": "engine-0", "bytes": 1,
        "timestamp": "2026-01-31T08:00:01Z",
    }  # fmt: skip
    assert [record["event"] for record in _of_process(records) if "{" in record["event"]] == ['{"level": 3}']


def test_a_line_without_end_is_several_records_and_the_last_half_line_one(records: list[dict[str, Any]]):
    *pieces, last = [record["event"] for record in _of_process(records)[3:]]
    assert len(pieces) > 1
    assert "".join(pieces) == "x" * 40_000
    assert last == "half a line"


def test_what_a_library_logs_is_a_record_with_its_traceback(records: list[dict[str, Any]]):
    record = next(record for record in records if record.get("logger") == "library")
    assert (record["event"], record["level"]) == ("it does not answer", "error")
    assert record["exception"].endswith("OSError: no route")


def test_for_a_person_lines_stay_as_they_were_printed():
    lines = printed("text")
    assert "engine: the disk is full" in lines
    assert any("compiling" in line and "process=engine-0" in line and "{" not in line for line in lines)
    assert "library: it does not answer" in lines
    assert lines[-1] == "half a line"


def test_a_record_of_our_own_names_its_logger(records: list[dict[str, Any]]):
    (record,) = [record for record in records if record["event"] == "the log is full"]
    assert (record["logger"], record["bytes"]) == ("ours", 1)
