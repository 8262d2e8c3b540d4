"""Both sides of a function's log: what is written is read, whole, in order, and bounded."""

import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skerry.engine import function_logs, log_writer
from skerry.engine.errors import UnknownRevisionError
from skerry.engine.function_logs import FunctionLogs, LineFilter, list_logs, remove_log, time_of
from skerry.engine.log_writer import (
    LINES_PER_SECOND_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGE_BYTES_PER_SECOND_MAX,
    FunctionLogWriter,
)
from skerry.engine.manifest import FunctionManifest

HELLO = FunctionManifest("hello-1", "hello", Path("/x"))
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class TickingClock:
    """A second for each look."""

    def __init__(self, step_seconds: float = 1.0) -> None:
        self.seconds = 0.0
        self.step_seconds = step_seconds

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.seconds)

    def monotonic_seconds(self) -> float:
        self.seconds += self.step_seconds
        return self.seconds


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[FunctionLogs]:
    reader = FunctionLogs(tmp_path)
    yield reader
    reader.close()


async def messages(logs: FunctionLogs, **options: object) -> list[str]:
    lines = logs.read("hello", **options)  # type: ignore[arg-type]
    return [json.loads(line)["message"] async for line in lines]


def test_a_line_that_the_disk_takes_a_part_of_is_lost_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer, path = FunctionLogWriter(tmp_path, TickingClock()), tmp_path / "hello.log"
    assert writer.write(HELLO, 1, b"first")
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:10]))
    assert not writer.write(HELLO, 1, b"second")
    monkeypatch.undo()
    assert writer.write(HELLO, 1, b"third")
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["first", "third"]
    assert writer.dropped_lines == 1


def test_a_line_says_when_who_and_how_bad(tmp_path: Path):
    FunctionLogWriter(tmp_path, TickingClock()).write(HELLO, 2, "grüß\ndich".encode())
    assert json.loads((tmp_path / "hello.log").read_bytes()) == {
        "time": "2026-01-01T00:00:01.000Z",
        "function": "hello",
        "revision": "hello-1",
        "level": "warn",
        "message": "grüß\ndich",
    }


async def test_the_last_lines_and_those_since_a_moment_are_found(tmp_path: Path, logs: FunctionLogs):
    writer = FunctionLogWriter(tmp_path, TickingClock())
    for number in range(1, 6):
        writer.write(HELLO, 1, str(number).encode())
    assert await messages(logs) == ["1", "2", "3", "4", "5"]
    assert await messages(logs, tail_lines=2) == ["4", "5"]
    assert await messages(logs, wanted=LineFilter(since=START + dt.timedelta(seconds=4))) == ["4", "5"]


async def test_lines_are_found_by_level_and_request_however_far_apart(
    tmp_path: Path, logs: FunctionLogs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(function_logs, "CHUNK_BYTES", 300)
    writer = FunctionLogWriter(tmp_path, TickingClock())
    for number in range(20):
        writer.write(HELLO, 3 if number == 0 else 1, str(number).encode(), f"request-{number // 10}")
    writer.write(HELLO, 2, b"careful", "request-1")
    assert await messages(logs, wanted=LineFilter(level="warn")) == ["0", "careful"]
    assert await messages(logs, wanted=LineFilter(level="error")) == ["0"]
    assert await messages(logs, wanted=LineFilter(request_id="request-1"), tail_lines=2) == ["19", "careful"]
    assert await messages(logs, wanted=LineFilter(request_id="request-0"), tail_lines=1) == ["9"]
    assert await messages(logs, wanted=LineFilter(request_id="req"), tail_lines=1) == ["careful"], "its beginning"
    assert await messages(logs, wanted=LineFilter(level="info", request_id="none")) == []


async def test_a_function_that_never_said_anything_has_no_lines(logs: FunctionLogs):
    assert await messages(logs) == []


async def test_a_name_never_becomes_a_path(logs: FunctionLogs):
    with pytest.raises(UnknownRevisionError):
        await anext(logs.read("../hello"))


async def test_a_log_is_two_files_of_a_bounded_size_and_is_read_across_both(
    tmp_path: Path, logs: FunctionLogs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log_writer, "FILE_BYTES_MAX", 1000)
    writers = [FunctionLogWriter(tmp_path, TickingClock()) for _ in range(2)]  # as two processes
    for number in range(40):
        writers[number % 2].write(HELLO, 1, str(number).encode())
    read = await messages(logs)
    assert read == [str(number) for number in range(40)][-len(read) :]
    assert 10 < len(read) < 40
    sizes = {name: os.stat(tmp_path / name).st_size for name in os.listdir(tmp_path)}  # noqa: PTH116, PTH208 - a test may block
    assert sorted(sizes) == ["hello.log", "hello.log.1"]
    assert max(sizes.values()) < 1300


async def test_a_follower_gets_what_is_written_later_and_survives_a_rotation(
    tmp_path: Path, logs: FunctionLogs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log_writer, "FILE_BYTES_MAX", 300)
    writer = FunctionLogWriter(tmp_path, TickingClock())
    writer.write(HELLO, 1, b"0")
    lines = logs.read("hello", follow=True)
    for number in range(8):
        assert json.loads(await anext(lines))["message"] == str(number)
        writer.write(HELLO, 1, str(number + 1).encode())
    await lines.aclose()  # type: ignore[attr-defined]


def test_a_long_message_is_cut_with_a_mark(tmp_path: Path):
    FunctionLogWriter(tmp_path, TickingClock()).write(HELLO, 1, b"x" * (MESSAGE_BYTES_MAX + 1))
    message = json.loads((tmp_path / "hello.log").read_bytes())["message"]
    assert message.startswith("x" * MESSAGE_BYTES_MAX)
    assert message.endswith("(cut)")


def test_a_flood_loses_lines_and_the_log_says_how_many(tmp_path: Path):
    clock = TickingClock(step_seconds=0.0)
    writer = FunctionLogWriter(tmp_path, clock)
    for _ in range(LINES_PER_SECOND_MAX + 25):
        writer.write(HELLO, 1, b"noise")
    clock.seconds += 1
    writer.write(HELLO, 1, b"after")
    *_, told, after = (json.loads(line) for line in (tmp_path / "hello.log").read_bytes().splitlines())
    assert told["message"].startswith("25 lines were dropped")
    assert after["message"] == "after"
    assert writer.dropped_lines == 25


def test_a_flood_of_long_lines_is_held_to_bytes_a_second_and_told_of_when_it_is_over(tmp_path: Path):
    clock = TickingClock(step_seconds=0.0)
    writer = FunctionLogWriter(tmp_path, clock)
    fitting = MESSAGE_BYTES_PER_SECOND_MAX // MESSAGE_BYTES_MAX
    written = [writer.write(HELLO, 1, b"x" * 10 * MESSAGE_BYTES_MAX) for _ in range(fitting + 3)]
    assert written == [True] * fitting + [False] * 3
    writer.sweep()
    writer.sweep()
    *_, before, told = (json.loads(line) for line in (tmp_path / "hello.log").read_bytes().splitlines())
    assert before["message"].startswith("x")
    assert (told["level"], told["revision"]) == ("warn", "hello-1")
    assert told["message"] == "3 lines were dropped: over 1000 lines or 1 MiB a second"


def test_a_line_tells_the_request_that_it_was_said_in_and_its_time_is_found_at_once(tmp_path: Path):
    FunctionLogWriter(tmp_path, TickingClock()).write(HELLO, 1, b"said", "abc")
    line = (tmp_path / "hello.log").read_text()
    assert json.loads(line)["requestId"] == "abc"
    assert time_of(line) == "2026-01-01T00:00:01.000Z"
    assert time_of("something else") == ""


def test_a_log_that_cannot_be_written_fails_no_request_and_is_counted(tmp_path: Path):
    writer = FunctionLogWriter(tmp_path, TickingClock())
    (tmp_path / "hello.log").mkdir()
    writer.write(HELLO, 1, b"lost")
    assert writer.dropped_lines == 1


async def test_functions_of_one_name_have_logs_of_their_own_that_end_apart(tmp_path: Path, logs: FunctionLogs):
    writer = FunctionLogWriter(tmp_path, TickingClock())
    for uid in ("one", "two"):
        writer.write(replace(HELLO, uid=uid), 1, uid.encode())
    assert list_logs(tmp_path) == {"hello.one", "hello.two"}
    assert [json.loads(line)["message"] async for line in logs.read("hello.two")] == ["two"]
    remove_log(tmp_path, "hello.one")
    writer.write(replace(HELLO, uid="two"), 1, b"more")
    assert list_logs(tmp_path) == {"hello.two"}
    assert len([line async for line in logs.read("hello.two")]) == 2
