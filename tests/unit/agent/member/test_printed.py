"""What instances print: the end of a file, what comes, and a file that is emptied meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skerry.agent.member.container_logs import Tail, printed_by
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.printed import printed_in
from skerry.fleet.log_wishes import LogWish, read_log_wish
from skerry.fleet.reports import ReportRefused


async def read(path: Path, wish: LogWish, executor: ThreadPoolExecutor) -> bytes:
    return b"".join([part async for part in printed_in(path, wish, lambda: False, executor)])


@pytest.mark.parametrize(
    ("kept", "lines", "expected"),
    [
        (b"a\nb\nc\n", None, b"a\nb\nc\n"),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n", 5, b"a\nb\n"),
        (b"a\n", 0, b""),
        (b"", 3, b""),
        (b"x" * 100_000 + b"\n" + b"y" * 100_000 + b"\nz\n", 2, b"y" * 100_000 + b"\nz\n"),
    ],
    ids=["all", "two", "open", "fewer", "none", "empty", "long"],
)
async def test_the_newest_lines_of_a_file(
    tmp_path: Path, executor: ThreadPoolExecutor, kept: bytes, lines: int | None, expected: bytes
) -> None:
    path = tmp_path / "main-0.log"
    path.write_bytes(kept)
    assert await read(path, LogWish(tail_lines=lines), executor) == expected


async def test_a_file_that_is_followed_goes_on_when_it_is_emptied_and_ends_with_its_instance(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    path = tmp_path / "main-0.log"
    path.write_bytes(b"one\n")
    told: list[bytes] = []
    async for part in printed_in(path, LogWish(follow=True), lambda: len(told) < 2, executor):
        told.append(part)
        if part == b"one\n":
            path.write_bytes(b"2\n")  # as when it had grown too long
    assert told == [b"one\n", b"2\n"]


async def test_what_a_file_held_before_it_was_emptied(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "main-0.log.1").write_bytes(b"old\n")
    assert await read(tmp_path / "main-0.log", LogWish(previous=True), executor) == b"old\n"


@pytest.mark.parametrize("wish", [LogWish(timestamps=True), LogWish(since_seconds=5), LogWish(previous=True)])
async def test_what_a_log_does_not_have_is_refused(tmp_path: Path, executor: ThreadPoolExecutor, wish: LogWish) -> None:
    with pytest.raises(ApplicationError):
        await read(tmp_path / "none.log", wish, executor)


async def test_an_instance_that_has_not_printed_has_an_empty_log(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    assert await read(tmp_path / "none.log", LogWish(tail_lines=1), executor) == b""


async def test_lines_of_a_container_are_told_once() -> None:
    kept = [f"2026-01-01T00:00:0{second}.000000001Z line {second}\n".encode() for second in range(4)]
    looks: list[Tail] = []

    async def lines(_: float | None, tail: Tail) -> list[bytes]:
        looks.append(tail)
        shown = kept[: len(looks) * 2]
        return shown[-tail:] if isinstance(tail, int) else shown

    told = [part async for part in printed_by(lines, LogWish(follow=True, tail_lines=1), lambda: len(looks) < 1)]
    assert told == [b"line 1\n", b"line 2\n", b"line 3\n"]
    assert looks == [1, "all"]


def test_a_wish_is_read_as_it_is_written_and_bounded() -> None:
    wish = LogWish(follow=True, tail_lines=3, since_seconds=1, limit_bytes=10)
    assert read_log_wish(wish.document()) == wish
    assert read_log_wish(None) == LogWish()
    assert read_log_wish({"TailLines": 10**9}).tail_lines == 100_000
    with pytest.raises(ReportRefused, match="TailLines"):
        read_log_wish({"TailLines": "x"})
