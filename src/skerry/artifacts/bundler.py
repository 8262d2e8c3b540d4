"""Kept bundlers: Node.js with esbuild in it (`bundle.mjs`), since starting one takes longer than most builds.

Owns the processes: how many are kept and for how long, and what one job may take. Does not own the order of a build,
nor what may be read (`bundle.mjs`).

Invariant: a process does one job at a time, and one whose job failed in any way is ended: what it would say next might
belong to the job before. None outlives its `Bundlers`, nor this process, because each ends with its standard input.
"""

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from skerry.artifacts.errors import BuilderError
from skerry.kit.deadlines import within
from skerry.kit.killing import kill_group, started_group

SCRIPT = Path(__file__).with_name("bundle.mjs")

#: Jobs of one process: whatever esbuild or Node.js may leak ends with it.
JOBS_MAX = 500
#: How long a process without a job is kept: two of them take some 150 MB, which a server that builds nothing can use.
IDLE_SECONDS_MAX = 60.0
#: JavaScript heap of one process, in MiB: it holds a bundle and its map several times over.
_HEAP_MEBIBYTES_MAX = 512
#: What is told of a process' complaint, for the log.
_COMPLAINT_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class BundlerSettings:
    """Where the tools are, and what a job may take.

    Attributes:
        node: the Node.js program; an absolute path.
        esbuild: the folder of the esbuild npm package.
        job_seconds_max: time of one job, the start of a process included.
        answer_bytes_max: size of a bundle with its source map.
        idle_seconds_max: how long a process is kept without a job.
    """

    node: Path
    esbuild: Path
    job_seconds_max: float
    answer_bytes_max: int
    idle_seconds_max: float = IDLE_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Job:
    """What to bundle.

    Attributes:
        root: the folder of the function's files.
        entrypoint: the module in it that holds the handler.
        modules: a node_modules folder beside `root`, or None.
        refuse_globals: whether code that names a global of Node.js is at fault.
    """

    root: Path
    entrypoint: str
    modules: Path | None = None
    refuse_globals: bool = False


class Bundlers:
    """Bundles, each job in a process that has been kept or is started for it; an async context manager."""

    def __init__(self, settings: BundlerSettings) -> None:
        self._settings = settings
        self._idle: list[_Bundler] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            await self._idle.pop().end()

    async def bundle(self, job: Job) -> dict[str, Any]:
        """Do a job and return what `bundle.mjs` says; its caller bounds how many are done at once.

        Raises:
            BuilderError: the process did not start, died, took too long or said too much.
        """
        bundler = self._kept() or _Bundler(self._settings)
        seconds = self._settings.job_seconds_max
        try:
            with within(seconds):
                answer = await bundler.do(job)
        except TimeoutError as error:
            await bundler.end()
            raise BuilderError(f"bundling took longer than its limit of {seconds:g} seconds") from error
        except BaseException:
            await bundler.end()
            raise
        if bundler.jobs < JOBS_MAX:
            self._keep(bundler)
        else:
            await bundler.end()
        return answer

    def _kept(self) -> "_Bundler | None":
        while self._idle:
            bundler = self._idle.pop()
            if bundler.is_alive:
                bundler.forget_expiry()
                return bundler
        return None

    def _keep(self, bundler: "_Bundler") -> None:
        self._idle.append(bundler)
        bundler.expire_in(self._settings.idle_seconds_max, self._idle)


class _Bundler:
    """One process."""

    def __init__(self, settings: BundlerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self.jobs = 0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def do(self, job: Job) -> dict[str, Any]:
        process = self._process = self._process or await started_group("bundler", self._start())
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - as _start has it
        self.jobs += 1
        words = {
            "root": str(job.root),
            "modules": job.modules and str(job.modules),
            "entrypoint": job.entrypoint,
            "refuseGlobals": job.refuse_globals,
        }
        try:
            process.stdin.write(json.dumps(words).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except ValueError as error:  # asyncio's word for a line over the limit
            raise BuilderError(f"a bundle exceeds its limit of {self._settings.answer_bytes_max} bytes") from error
        except (ConnectionError, RuntimeError):  # the latter is uvloop's, which has found the pipe closed
            line = b""
        if not line.endswith(b"\n"):
            raise BuilderError(
                f"the bundler ended with exit code {await process.wait()}", detail=await self._complaint()
            )
        return _document(line)

    async def _start(self) -> asyncio.subprocess.Process:
        settings = self._settings
        try:
            return await asyncio.create_subprocess_exec(
                settings.node,
                f"--max-old-space-size={_HEAP_MEBIBYTES_MAX}",
                SCRIPT,
                settings.esbuild,
                cwd="/",
                env={},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=settings.answer_bytes_max,
                start_new_session=True,  # a process group of its own, so that esbuild ends with it
            )
        except OSError as error:
            raise BuilderError(f"Node.js could not be started: {error.strerror}", detail=str(error)) from error

    async def _complaint(self) -> str:
        stream = self._process.stderr if self._process else None
        return (await stream.read(_COMPLAINT_BYTES_MAX)).decode(errors="replace") if stream else ""

    def expire_in(self, seconds: float, idle: "list[_Bundler]") -> None:
        """End this one when it has been idle for so long."""

        def expire() -> None:
            idle.remove(self)
            self._kill()

        self._expiry = asyncio.get_running_loop().call_later(seconds, expire)

    def forget_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill the process group, and wait until it is gone; what it still says is dropped."""
        self.forget_expiry()
        if self._process is not None:
            await kill_group(self._process, "bundler")


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise BuilderError("the bundler said something unreadable", detail=repr(line[:500])) from error
    if not isinstance(document, dict):
        raise BuilderError("the bundler said something unreadable", detail=repr(line[:500]))
    return document
