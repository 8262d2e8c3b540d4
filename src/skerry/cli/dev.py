"""`skerry dev`: what it prints, and its flags."""

import os
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.markup import escape

from skerry.agent.development.project import Wishes
from skerry.agent.development.session import Broken
from skerry.cli.printing import err, out
from skerry.cli.session import DataDirFlag, pairs
from skerry.kit.errors import ConfigurationError

ADDRESS = "127.0.0.1:8787"
_LEVEL_STYLES = {"debug": "dim", "warn": "yellow", "error": "red"}


class TerminalReporter:
    """Prints what happens: console output to standard output, all else to standard error."""

    def built(self, function: str, seconds: float, warnings: tuple[str, ...]) -> None:
        """Say that the present source is served."""
        for warning in warnings:
            err.print(f"[yellow]warning:[/] {escape(warning)}", markup=True)
        err.print(f"[green]built[/] {escape(function)} in {seconds * 1000:.0f} ms", markup=True)

    def broken(self, state: Broken) -> None:
        """Say that it does not build."""
        err.print(f"[red]error:[/] {escape(state.message)}", markup=True)
        for excerpt in state.excerpts:
            err.print(f"    {excerpt}")

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Say that a request was answered."""
        style = "red" if status >= 500 else "dim"
        err.print(f"[{style}]{method} {escape(path)} {status} ({seconds * 1000:.0f} ms)[/]", markup=True)

    def logged(self, level: str, message: str) -> None:
        """Say what the function wrote to its console."""
        out.print(message, style=_LEVEL_STYLES.get(level))


def dev(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the function's sources.")] = Path(),
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes any.")] = ADDRESS,
    name: Annotated[str | None, typer.Option(help="Name of the function.")] = None,
    entrypoint: Annotated[str | None, typer.Option(metavar="PATH", help="Default: index.ts, index.js, ...")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Repeatable.")] = None,
    egress_policy: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="EgressPolicies to obey, YAML. Repeatable.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="The backend that a function of mode filter stands before.")
    ] = None,
    data_dir: DataDirFlag = None,
) -> None:
    """Run the function of a folder on this machine, and build it again at every save.

    Needs no running Skerry. A function of mode filter stands before a backend of yours, --upstream. Takes env and
    runtime from edgefunction.yaml, and variables from .dev.vars. Prints the URL, what the function writes to its
    console, and why it fails; the answer says so too. Ctrl-C stops it.
    """
    from skerry.main.configuration import load_settings
    from skerry.main.dev import run_dev
    from skerry.main.setting_values import Address

    settings = load_settings({"data_dir": data_dir}, os.environ)
    try:
        place = Address.parse(address)
    except ValueError as error:
        raise ConfigurationError(f"--address: {address!r} {error}") from error
    wishes = Wishes(name, entrypoint, pairs(env or []), egress_policies=tuple(egress_policy or ()), upstream=upstream)

    def when_ready(url: str) -> None:
        out.print(f"ready: {url} (Ctrl-C stops)")

    uvloop.run(run_dev(settings, folder, wishes, place, TerminalReporter(), when_ready))
