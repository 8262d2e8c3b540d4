"""A running API server and the real kubectl against it, over TLS, with a home directory of its own."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from skerry.testing import forked
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server
from skerry.testing.log_lines import LogLines

#: How long a command may take on a busy machine.
COMMAND_SECONDS_MAX = 90.0


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class Kubectl:
    """Runs kubectl as a user would."""

    command: tuple[str, ...] = ("kubectl",)

    def __init__(self, home: Path, kubeconfig: Path) -> None:
        self._home = home
        self._environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    async def run(self, *arguments: str, stdin: str = "", **environment: str) -> Outcome:
        """Run to the end, whatever it is."""
        process = await self._start(*arguments, **environment)
        out, err = await process.communicate(stdin.encode())
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    async def ok(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """Run, insist on success, return standard output."""
        outcome = await self.run(*arguments, stdin=stdin, **environment)
        assert outcome.code == 0, f"kubectl {' '.join(arguments)}: {outcome}"
        return outcome.out

    async def fails(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """Run, insist on failure, return standard error."""
        outcome = await self.run(*arguments, stdin=stdin, **environment)
        assert outcome.code != 0, f"kubectl {' '.join(arguments)}: {outcome}"
        return outcome.err

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.ok(*arguments, "-o", "json"))

    @contextlib.asynccontextmanager
    async def lines(self, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
        """Run while the block does; yields standard output."""
        process = await self._start(*arguments)
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    def shown(self, kubeconfig: Path) -> "Kubectl":
        """Return kubectl as it runs with another kubeconfig."""
        return type(self)(self._home, kubeconfig)

    async def _start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self.command, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env={**self._environment, **environment}
        )


class Skerry(Kubectl):
    """Runs the `skerry` command in the same way."""

    async def run(self, *arguments: str, stdin: str = "", **environment: str) -> Outcome:
        """Run to the end, whatever it is."""
        run = partial(forked.run, arguments, {**self._environment, **environment}, stdin=stdin)
        done = await asyncio.to_thread(run, timeout_seconds=COMMAND_SECONDS_MAX)
        return Outcome(done.code, done.out, done.err)


async def until(reached: Callable[[], bool]) -> None:
    """Wait for a state of the server, which tells nobody of it."""
    while not reached():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)


@pytest.fixture
def log_lines() -> LogLines:
    return LogLines()


@pytest.fixture
async def server(tmp_path: Path, log_lines: LogLines) -> AsyncIterator[ApiServer]:
    async with run_api_server(tmp_path / "server", ApiServerParts(log_reader=log_lines)) as running:
        yield running


@pytest.fixture
def kubectl(tmp_path: Path, server: ApiServer) -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    home = tmp_path / "home"
    home.mkdir()
    return Kubectl(home, server.kubeconfig)


@pytest.fixture
def skerry_command(tmp_path: Path, server: ApiServer) -> Skerry:
    return Skerry(tmp_path, server.kubeconfig)


def manifest(name: str = "hello", **metadata: Any) -> dict[str, Any]:
    """A small edge function."""
    files = [{"path": "index.js", "content": "export default {}"}]
    code = {"jsSource": {"entrypoint": "index.js", "assets": {"files": files}}}
    return {
        "apiVersion": "extensions.apoxy.dev/v1alpha2",
        "kind": "EdgeFunction",
        "metadata": {"name": name, **metadata},
        "spec": {"template": {"mode": "backend", "code": code}},
    }


@pytest.fixture
def function() -> Any:
    return manifest
