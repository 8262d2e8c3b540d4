"""What a process says without a logger of its own, and what it costs."""

import json
import subprocess
import sys

from skerry.kit.records import record_in, words_of

_PROGRAM = """
import sys
from skerry.kit.records import Records

records = Records("skerry.part")
records.warning("the disk is full", reason="no room", path=sys)
try:
    raise OSError("no route" * 10_000)
except OSError as error:
    records.defect("a look met a defect", error)
assert "structlog" not in sys.modules
"""


def said() -> list[str]:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr.splitlines()


def test_each_is_one_line_with_what_a_record_needs_and_whose_it_is() -> None:
    warning, defect = map(json.loads, said())
    assert warning.items() >= {
        "event": "the disk is full", "reason": "no room", "level": "warning", "logger": "skerry.part"
    }.items()  # fmt: skip
    assert warning["timestamp"].endswith("Z")
    assert defect["level"] == "error"
    assert defect["exception"].endswith("no route")
    assert len(defect["exception"]) < 10_000


def test_a_person_is_told_the_sentence_the_reason_and_the_traceback() -> None:
    warning, defect = said()
    assert words_of(warning) == "the disk is full: no room"
    assert words_of(defect).startswith("a look met a defect\n")


def test_a_line_that_is_no_record_is_left_as_it_is() -> None:
    for line in ("{", "[1]", '{"event": "of another"}', "plain"):
        assert record_in(line) is None
        assert words_of(line) == line
