"""`skerry secret ...`: the secrets that functions get; `skerry secrets` is about how all are encrypted."""

import json
from typing import Annotated

import typer

from skerry.api.core_v1 import SECRET
from skerry.cli.dispatch import NamespaceFlag, ask
from skerry.cli.dispatch_objects import add_commands
from skerry.cli.printing import out
from skerry.cli.reading import read_text
from skerry.cli.session import DataDirFlag, KubeconfigFlag
from skerry.kit.errors import ConfigurationError

_PATH = "secret"

injected_secrets = typer.Typer(
    help="""Secrets that functions get: names and values. (How they are encrypted: skerry secrets.)

    For example, with {"password": "mellon"} in open-sesame.json: skerry secret create open-sesame open-sesame.json;
    skerry function create gate gate.py --secret open-sesame
    """,
    no_args_is_help=True,
)
add_commands(
    injected_secrets,
    SECRET,
    _PATH,
    "secret",
    deleting="Runs of functions that name it fail from now on.",
)


@injected_secrets.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="By which functions name it.")],
    file: Annotated[str, typer.Argument(metavar="FILE|-", help='JSON: {"name": "value"}; - for standard input.')],
    update: Annotated[bool, typer.Option("--update", help="Replace all of its values where it is there.")] = False,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Store a secret; its values never appear on the command line."""
    body = {"name": name, "secrets": _values(file)}
    request = ("PUT", f"{_PATH}/{name}") if update else ("POST", _PATH)
    ask(kubeconfig, data_dir, namespace, request, body=body)
    out.print(f"{'Updated' if update else 'Created'} secret: {name}")


def _values(file: str) -> dict[str, str]:
    try:
        values = json.loads(read_text(file, "FILE"))
    except ValueError as error:
        raise ConfigurationError(f"FILE: {file} can't be read as JSON: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ConfigurationError(f'FILE: {file} must be a JSON object of texts, {{"name": "value"}}')
    return values
