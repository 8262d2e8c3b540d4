"""`skerry logs`: what a function wrote to its console, for people or as it is kept."""

from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from skerry.api.durations import parse_seconds
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.cli.connection import connected
from skerry.cli.printing import out
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError

#: What a function writes must not command the terminal.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_STYLES = {"debug": "dim", "info": "", "warn": "yellow", "error": "red"}


def logs(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="Name of an EdgeFunction.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines.")] = False,
    tail: Annotated[int | None, typer.Option(metavar="N", help="Begin with the last N lines.", min=0)] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Only lines of the last 5s, 2m, 3h, ...")] = None,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="Only lines as bad as debug, info, warn or error.")
    ] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Only lines of the request whose id begins so.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="text|json", help="json: lines as they are kept.")
    ] = "text",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print what a function wrote to its console, and the errors that it threw."""
    if output not in {"text", "json"}:
        raise ConfigurationError(f"--output: {output!r} does not fit: must be text or json")
    given = {
        "follow": "true" if follow else None,
        "tailLines": None if tail is None else str(tail),
        "sinceSeconds": None if since is None else _whole_seconds(since),
        "level": level,
        "requestId": request,
    }
    query = {name: value for name, value in given.items() if value is not None}

    async def stream() -> None:
        async with (
            connected(access_of(kubeconfig, data_dir)) as http,
            HttpTransport(http).lines(Target(EDGE_FUNCTION, name=function, subresource="log"), query) as lines,
        ):
            async for line in lines:
                if output == "json":
                    out.print(line)
                else:
                    out.print(_for_people(line), markup=True)

    run(stream())


def _whole_seconds(text: str) -> str:
    try:
        return str(max(1, round(parse_seconds(text))))
    except ValueError as error:
        raise ConfigurationError(f"--since: {text!r} does not fit: {error}") from error


def _for_people(line: str) -> str:
    """Write a line as: time, level, revision, the request's first characters, message."""
    try:
        told: dict[str, Any] = orjson.loads(line)
        time, level, revision, message = (str(told[name]) for name in ("time", "level", "revision", "message"))
    except (ValueError, KeyError, TypeError):
        return escape(line.translate(_VISIBLE))
    style = _STYLES.get(level, "")
    who = f"{revision} {str(told['requestId'])[:8]}" if "requestId" in told else revision
    time, level, who, message = (escape(part.translate(_VISIBLE)) for part in (time, level, who, message))
    text = f"[dim]{time}[/dim] {level.upper():5} [dim]{who}[/dim] {message}"
    return f"[{style}]{text}[/{style}]" if style else text
