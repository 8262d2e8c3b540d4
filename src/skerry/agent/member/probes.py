"""Probes: whether a program that runs also works. A probe is one of Kubernetes', asked from this machine.

Of its ways, httpGet, tcpSocket and exec are known; a probe of another way is refused before its program is started.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from skerry.agent.member.errors import ApplicationError
from skerry.api.model import Document
from skerry.kit.deadlines import within
from skerry.kit.killing import kill_group, started_group
from skerry.kit.logs import get_logger
from skerry.kit.processes import Command, bound_to_this

log = get_logger(__name__)
#: From here on Kubernetes takes an answer for a failure.
_STATUS_MAX = 399
_PROCESS = "probe"

Port = Annotated[int, Field(ge=1, le=65535)]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="ignore", defer_build=True)


class HttpGet(_Part):
    """Asks for a page."""

    path: str = "/"
    port: Port
    host: str = "127.0.0.1"
    scheme: str = "HTTP"


class TcpSocket(_Part):
    """Connects to a port."""

    port: Port
    host: str = "127.0.0.1"


class Exec(_Part):
    """Runs a command, which ends with 0 where all is well."""

    command: list[str] = Field(min_length=1)


class Probe(_Part):
    """How a program is looked at, and how often; seconds."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    initial_delay_seconds: Annotated[float, Field(ge=0, le=86400)] = 0
    period_seconds: Annotated[float, Field(gt=0, le=86400)] = 10
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 1
    failure_threshold: Annotated[int, Field(ge=1, le=1000)] = 3


def read_probe(document: Document) -> Probe:
    """Read a probe; raises ApplicationError."""
    try:
        probe = Probe.model_validate(document)
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False)[0]
        raise ApplicationError(f"livenessProbe.{'.'.join(map(str, told['loc']))}: {told['msg']}") from error
    if [probe.http_get, probe.tcp_socket, probe.exec].count(None) != 2:
        raise ApplicationError("livenessProbe: give one of httpGet, tcpSocket and exec")
    return probe


async def watch(probe: Probe, program: Command, restart: Callable[[], Awaitable[None]]) -> None:
    """Look at a program for ever; restart it where it fails so often in a row as its probe says.

    Args:
        probe: how.
        program: that is looked at; the commands of a probe run as it does.
        restart: ends the program, which is then started anew.
    """
    await asyncio.sleep(probe.initial_delay_seconds)
    failures = 0
    while True:
        if reason := await failure(probe, program):
            failures += 1
            log.info("a probe failed", reason=reason, failures=failures)
        else:
            failures = 0
        if failures >= probe.failure_threshold:
            failures = 0
            await restart()
            await asyncio.sleep(probe.initial_delay_seconds)
        await asyncio.sleep(probe.period_seconds)


async def failure(probe: Probe, program: Command) -> str:
    """Look at a program once; return what is wrong, "" for nothing."""
    try:
        with within(probe.timeout_seconds):
            if probe.http_get is not None:
                return await _page(probe.http_get, probe.timeout_seconds)
            if probe.tcp_socket is not None:
                _, writer = await asyncio.open_connection(probe.tcp_socket.host, probe.tcp_socket.port)
                writer.close()
                return ""
            return await _command(probe.exec, program) if probe.exec else ""
    except TimeoutError:
        return f"no answer within {probe.timeout_seconds} s"
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:  # of a host or a path that can't be one
        return str(error) or type(error).__name__


async def _page(wanted: HttpGet, timeout_seconds: float) -> str:
    url = f"{wanted.scheme.lower()}://{wanted.host}:{wanted.port}{wanted.path}"
    # As with Kubernetes: a certificate is not looked at, since the program has one of its own making.
    async with (
        httpx.AsyncClient(verify=False, timeout=timeout_seconds, trust_env=False) as http,  # noqa: S501 - see above
        http.stream("GET", url) as response,
    ):
        return "" if response.status_code <= _STATUS_MAX else f"{url} answered {response.status_code}"


async def _command(wanted: Exec, program: Command) -> str:
    starting = asyncio.create_subprocess_exec(
        *bound_to_this(program.bounds),
        *wanted.command,
        cwd=program.directory,
        env=program.whole_environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # a process group of its own, so that its children end with it
    )
    process = await started_group(_PROCESS, starting)
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await kill_group(process, _PROCESS)
        raise
    return "" if code == 0 else f"the command ended with {code}"
