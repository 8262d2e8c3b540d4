"""The kept bundlers, with the real Node.js and esbuild."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.artifacts.bundler import Bundlers, BundlerSettings, Job
from skerry.artifacts.errors import BuilderError

ESBUILD = Path(__file__).parents[3] / "js-engine" / "node_modules" / "esbuild"


def settings(**limits: float) -> BundlerSettings:
    beside_python = Path(sys.executable).with_name("node")  # where `make setup` puts it
    node = beside_python if beside_python.is_file() else Path(shutil.which("node") or "/missing")
    return BundlerSettings(
        node,
        ESBUILD,
        **{"job_seconds_max": 30.0, "answer_bytes_max": 1_000_000, **limits},  # type: ignore[arg-type]
    )


@pytest.fixture
async def bundlers() -> AsyncIterator[Bundlers]:
    async with Bundlers(settings()) as bundlers:
        yield bundlers


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.js").write_text("export default process.pid")
    return Job(tmp_path / "source", "main.js")


def processes(bundlers: Bundlers) -> list[asyncio.subprocess.Process]:
    return [bundler._process for bundler in bundlers._idle if bundler._process]


async def test_jobs_one_after_the_other_share_a_process(bundlers: Bundlers, job: Job) -> None:
    first = await bundlers.bundle(job)
    [process] = processes(bundlers)
    assert await bundlers.bundle(job) == first
    assert processes(bundlers) == [process]


async def test_jobs_at_once_have_a_process_each(bundlers: Bundlers, job: Job) -> None:
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(bundlers.bundle(job)) for _ in range(2)]
    assert jobs[0].result() == jobs[1].result()
    assert len(processes(bundlers)) == 2


async def test_a_process_that_was_killed_is_replaced(bundlers: Bundlers, job: Job) -> None:
    await bundlers.bundle(job)
    [process] = processes(bundlers)
    process.kill()
    await process.wait()
    assert (await bundlers.bundle(job))["errors"] == []


async def test_a_job_beyond_its_time_ends_the_process_and_names_the_limit(job: Job) -> None:
    async with Bundlers(settings(job_seconds_max=0.001)) as bundlers:
        with pytest.raises(BuilderError, match=r"limit of 0\.001 seconds"):
            await bundlers.bundle(job)
        assert processes(bundlers) == []


async def test_a_process_without_a_job_is_ended_after_its_time(job: Job) -> None:
    async with Bundlers(settings(idle_seconds_max=0.001)) as bundlers:
        await bundlers.bundle(job)
        for process in processes(bundlers):
            assert await process.wait() == -signal.SIGKILL
        assert processes(bundlers) == []


async def test_a_cancelled_job_and_the_end_leave_no_process(job: Job) -> None:
    async with Bundlers(settings()) as bundlers:
        await bundlers.bundle(job)
        [process] = processes(bundlers)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bundlers.bundle(job))
            await asyncio.sleep(0)
            running.cancel()
        assert process.returncode is not None
        await bundlers.bundle(job)
        [process] = processes(bundlers)
    assert process.returncode is not None


async def test_a_process_that_dies_at_its_job_is_told(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dies.mjs"
    script.write_text(
        "process.stdin.once('data', () => {"
        " console.error('out of luck'); process.exitCode = 3; process.stdin.destroy(); })"
    )
    monkeypatch.setattr("skerry.artifacts.bundler.SCRIPT", script)
    async with Bundlers(settings()) as bundlers:
        with pytest.raises(BuilderError, match="exit code 3") as raised:
            await bundlers.bundle(job)
    assert "out of luck" in raised.value.detail
