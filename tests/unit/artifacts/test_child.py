import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from skerry.artifacts import child
from skerry.artifacts.errors import BuilderError

PYTHON = Path(sys.executable)


async def run(code: str, *, seconds_max: float = 60, output_bytes_max: int = 1000) -> bytes:
    return await child.run(child.Tool([PYTHON, "-c", code], Path("/"), seconds_max, output_bytes_max))


async def test_a_tool_gets_no_environment_and_no_input() -> None:
    assert await run("import os, sys; print(dict(os.environ).get('PATH'), sys.stdin.read())") == b"None \n"


async def test_a_tool_gets_what_it_is_given_however_much_it_says_meanwhile() -> None:
    code = "import os, sys; print('x' * 10**6, os.environ['WORD'], len(sys.stdin.read()))"
    tool = child.Tool([PYTHON, "-c", code], Path("/"), 60, 2 * 10**6, environment={"WORD": "up"})
    assert (await child.run(tool, given=b"y" * 10**6)).endswith(b"x up 1000000\n")


async def test_a_tool_that_reads_nothing_of_what_it_is_given_is_fine() -> None:
    tool = child.Tool([PYTHON, "-c", "print('done')"], Path("/"), 60, 100)
    assert await child.run(tool, given=b"y" * 10**6) == b"done\n"


async def test_a_pipe_that_uvloop_has_found_closed_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_writer: asyncio.StreamWriter, _data: bytes) -> None:
        raise RuntimeError("unable to perform operation on <WriteUnixTransport closed=True>; the handler is closed")

    monkeypatch.setattr(asyncio.StreamWriter, "write", closed)
    tool = child.Tool([PYTHON, "-c", "print('done')"], Path("/"), 60, 100)
    assert await child.run(tool, given=b"input") == b"done\n"


async def test_a_failed_tool_is_told_with_its_complaint() -> None:
    with pytest.raises(BuilderError, match="exit code 3") as raised:
        await run("import sys; sys.stderr.write('broken pipe dream'); sys.exit(3)")
    assert raised.value.detail == "broken pipe dream"


async def test_a_missing_tool_is_told() -> None:
    with pytest.raises(BuilderError, match="nowhere could not be started"):
        await child.run(child.Tool(["/nowhere"], Path("/"), seconds_max=60, output_bytes_max=1))


async def test_output_at_the_limit_passes_and_beyond_it_names_the_limit() -> None:
    assert await run("print('x' * 999)") == b"x" * 999 + b"\n"
    with pytest.raises(BuilderError, match="limit of 1000 bytes"):
        await run("print('x' * 1000000)")


async def test_a_tool_that_hangs_is_killed_and_its_limit_named() -> None:
    with pytest.raises(BuilderError, match=r"limit of 0\.2 seconds"):
        await run("import time; print('x' * 10**6); time.sleep(1000)", seconds_max=0.2)


async def test_cancelling_ends_the_tool_and_its_children(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    grandchild = f"import time; f = open({str(fifo)!r}, 'w'); f.write('up'); f.flush(); time.sleep(1000)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(code, seconds_max=1000))
        with await asyncio.to_thread(fifo.open) as alive:
            assert await asyncio.to_thread(alive.read, 2) == "up"
            running.cancel()
            assert await asyncio.to_thread(alive.read) == ""  # the end of file: no writer lives
    assert running.cancelled()


async def test_a_tool_that_is_cancelled_while_it_starts_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, start = asyncio.Event(), asyncio.create_subprocess_exec

    async def start_slowly(*arguments: str, **how: Any) -> asyncio.subprocess.Process:
        process = await start(*arguments, **how)
        await runs.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_slowly)
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    grandchild = f"import time; f = open({str(fifo)!r}, 'w'); f.write('up'); f.flush(); time.sleep(1000)"
    running = asyncio.ensure_future(
        run(f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {grandchild!r}])")
    )
    with await asyncio.to_thread(fifo.open) as alive:
        assert await asyncio.to_thread(alive.read, 2) == "up"
        running.cancel()
        await asyncio.sleep(0)
        runs.set()
        await asyncio.wait([running])
        assert running.cancelled()
        os.set_blocking(alive.fileno(), False)
        assert os.read(alive.fileno(), 1) == b""  # the end of file, where a writer that lives would block
