"""What commands look like in their own help."""

from collections.abc import Iterator
from typing import Any

import typer


def command_of(app: typer.Typer) -> Any:
    """Return the command that an application is, whose flags are shown as what they are: they take no value."""
    command = typer.main.get_command(app)
    for each in _with_parts(command):
        context = typer.Context(each)
        for parameter in each.get_params(context):
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
    return command


def _with_parts(command: Any) -> Iterator[Any]:
    yield command
    for part in getattr(command, "commands", {}).values():
        yield from _with_parts(part)
