"""The flags that say what a process logs, and how: of every command that keeps running."""

from typing import Annotated

import typer

LogLevelFlag = Annotated[str | None, typer.Option(metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")]
LogStyleFlag = Annotated[
    str | None, typer.Option(metavar="STYLE", help="text for people, json for machines. Default: text")
]
