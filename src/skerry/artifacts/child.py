"""Run a tool as a child process: no shell, no environment but what is given, an end to its time and its output.

Invariant: when `run` returns or raises, cancellation included, the child and its own children are gone.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skerry.artifacts.errors import BuilderError
from skerry.kit.deadlines import within
from skerry.kit.killing import kill_group, started_group

#: What is kept of a tool's standard error, for the log; the rest is read and dropped.
ERROR_OUTPUT_BYTES = 16 * 1024

_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Tool:
    """What to run, and what it may take.

    Attributes:
        arguments: an absolute program and its arguments.
        directory: its working directory.
        seconds_max: how long it may take.
        output_bytes_max: how much it may print.
        environment: all of its environment.
    """

    arguments: Sequence[str | Path]
    directory: Path
    seconds_max: float
    output_bytes_max: int
    environment: Mapping[str, str] = field(default_factory=dict)


async def run(tool: Tool, *, given: bytes = b"") -> bytes:
    """Run a tool and return its standard output; `given` is its standard input.

    Raises:
        BuilderError: it could not start, failed, took too long or printed too much.
    """
    name = Path(tool.arguments[0]).name
    process = await started_group(name, _start(tool, has_input=bool(given)))
    try:
        with within(tool.seconds_max):
            output, complaint = await _talk(process, given, tool.output_bytes_max + 1)
            code = await process.wait()
    except TimeoutError as error:
        raise BuilderError(f"{name} took longer than its limit of {tool.seconds_max:g} seconds") from error
    finally:
        await kill_group(process, name)
    if len(output) > tool.output_bytes_max:
        raise BuilderError(f"{name} printed more than its limit of {tool.output_bytes_max} bytes")
    if code != 0:
        raise BuilderError(f"{name} ended with exit code {code}", detail=complaint.decode(errors="replace"))
    return output


async def _start(tool: Tool, *, has_input: bool) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *tool.arguments,
            cwd=tool.directory,
            env=dict(tool.environment),
            stdin=asyncio.subprocess.PIPE if has_input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a process group of its own, so that its children end with it
        )
    except OSError as error:
        name = Path(tool.arguments[0]).name
        raise BuilderError(f"{name} could not be started: {error.strerror}", detail=str(error)) from error


async def _talk(process: asyncio.subprocess.Process, given: bytes, output_bytes_max: int) -> tuple[bytes, bytes]:
    """Write and read at the same time: a child may answer before it has read everything."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_write(process.stdin, given))
        outputs = group.create_task(_outputs(process, output_bytes_max))
    return outputs.result()


async def _write(stream: asyncio.StreamWriter | None, given: bytes) -> None:
    if stream is None:
        return
    # It has ended, or wants no more: its exit code says what that means. RuntimeError is uvloop's, which has found the
    # pipe closed.
    with contextlib.suppress(ConnectionError, RuntimeError):
        stream.write(given)
        await stream.drain()
    stream.close()


async def _outputs(process: asyncio.subprocess.Process, output_bytes_max: int) -> tuple[bytes, bytes]:
    """Read both streams at the same time: a child blocks on the one that nobody reads."""
    async with asyncio.TaskGroup() as group:
        output = group.create_task(_first_of(process.stdout, output_bytes_max))
        complaint = group.create_task(_first_of(process.stderr, ERROR_OUTPUT_BYTES))
    return output.result(), complaint.result()


async def _first_of(stream: asyncio.StreamReader | None, bytes_max: int) -> bytes:
    """Read a stream to its end, and keep its first bytes."""
    content = bytearray()
    while stream is not None and (chunk := await stream.read(_READ_BYTES)):
        content += chunk[: bytes_max - len(content)]
    return bytes(content)
