"""`skerry function logs`: what a run printed, or prints, line by line."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import typer

from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.dispatch import path_of
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.answers import OBJECT_BYTES_MAX, parsed, read_answer, read_lines, read_refusal, refusal
from skerry.kit.backoff import Backoff
from skerry.kit.errors import SkerryError

#: The server says every 15 seconds that a silent run goes on.
_SILENCE_SECONDS_MAX = 45.0


async def _events(lines: AsyncIterator[bytes]) -> AsyncIterator[dict[str, str]]:
    """Read server-sent events: the fields of each, by name."""
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.decode(errors="replace").partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif not line and fields:
            yield fields
            fields = {}


async def _follow(http: httpx.AsyncClient, namespace: str, name: str) -> None:
    """Print lines until the run is over; a stream that the server ends sooner is taken up where it ended."""
    place, backoff = "", Backoff(first_seconds=0.1)
    while True:
        headers = {"X-Dispatch-Org": namespace, **({"Last-Event-ID": place} if place else {})}
        timeout = httpx.Timeout(_SILENCE_SECONDS_MAX)
        path, query = path_of("runs", name, "logs"), {"follow": "true"}
        async with http.stream("GET", path, params=query, headers=headers, timeout=timeout) as answer:
            if not answer.is_success:
                raise await _refused(answer)
            async for event in _events(read_lines(answer)):
                backoff.reset()
                place = event.get("id", place)
                if event.get("event") == "end":
                    return
                _print(event.get("event", ""), parsed(event["data"].encode()))
        await asyncio.sleep(backoff.next_seconds())


def _print(stream: str, data: dict[str, Any]) -> None:
    typer.echo(data["line"], err=stream == "stderr")


async def _refused(answer: httpx.Response) -> SkerryError:
    told = refusal(answer.status_code, await read_refusal(answer))
    return SkerryError(f"[Code: {told.get('code', answer.status_code)}] {told.get('message', '')}")


async def _printed(http: httpx.AsyncClient, namespace: str, name: str) -> Document:
    async with http.stream("GET", path_of("runs", name, "logs"), headers={"X-Dispatch-Org": namespace}) as answer:
        if not answer.is_success:
            raise await _refused(answer)
        document: Document = parsed(await read_answer(answer, OBJECT_BYTES_MAX))
    return document


def print_logs(
    name: str, *, follow: bool, namespace: str, data_dir: DataDirFlag = None, kubeconfig: KubeconfigFlag = None
) -> None:
    """Print the lines of a run: its standard output here, its standard error there; raises SkerryError."""

    async def go() -> None:
        try:
            async with connected(access_of(kubeconfig, data_dir)) as http:
                if follow:
                    await _follow(http, namespace, name)
                    return
                found = await _printed(http, namespace, name)
        except httpx.HTTPError as error:
            raise SkerryError(f"the server can't be reached: {error}") from error
        for stream in ("stdout", "stderr"):
            for line in found[stream]:
                _print(stream, {"line": line})

    run(go())
