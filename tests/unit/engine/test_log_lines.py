"""What a program writes becomes lines, and no more of them than a request's share."""

import pytest

from skerry.engine import log_lines
from skerry.engine.log_lines import LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, LogLines


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[int, bytes]] = []
        self.pauses = 0
        self.written = LogLines(lambda level, line: self.lines.append((level, line)), self.pause)

    def pause(self) -> None:
        self.pauses += 1


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setattr(log_lines, "FLOOD_PAUSE_SECONDS", 0)
    return Log()


def test_pieces_become_lines_and_the_last_one_needs_no_end(log: Log):
    for piece in (b"on", b"e\ntwo\n\nth", b"ree"):
        log.written.write(piece)
    log.written.close()
    assert log.lines == [(1, b"one"), (1, b"two"), (1, b""), (1, b"three")]


def test_a_long_line_becomes_several(log: Log):
    log.written.write(b"x" * (2 * LOG_LINE_BYTES_MAX + 1))
    log.written.close()
    assert [len(line) for _, line in log.lines] == [LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX, 1]


@pytest.mark.parametrize("line", [b"\n", b"x" * 4095 + b"\n"])
def test_what_is_over_the_share_is_dropped_counted_and_slowed_down(log: Log, line: bytes):
    kept = min(LOG_LINES_MAX, LOG_BYTES_MAX // max(len(line) - 1, 1) + 1)
    for _ in range(kept + 10):
        log.written.write(line)
    log.written.say(3, b"an error, too")
    log.written.close()
    assert len(log.lines) == kept + 1
    assert log.pauses == 11
    assert b"bytes more were dropped" in log.lines[-1][1]


def test_a_level_of_its_own_is_kept(log: Log):
    log.written.say(3, b"an error")
    assert log.lines == [(3, b"an error")]
