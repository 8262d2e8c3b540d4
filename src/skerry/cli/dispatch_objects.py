"""What the commands of Dispatch's objects share: `list`, `get` and `delete`, and waiting for one that is made."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.dispatch import Door, NamespaceFlag, ask, listed
from skerry.cli.printing import out, print_objects
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.transport import Target
from skerry.kit.errors import SkerryError

_FOLLOW_SECONDS = 0.2

OutputFlag = Annotated[str, typer.Option("--output", "-o", metavar="table|json|yaml", help="How to print.")]
ApplicationFlag = Annotated[str, typer.Option("--application", "-a", metavar="APP", help="Tag it with an application.")]


def add_commands(app: typer.Typer, kind: Kind[Any], path: str, noun: str, *, deleting: str) -> None:
    """Give a group of commands `list`, `get` and `delete`.

    Args:
        app: the group.
        kind: of the objects.
        path: of their collection, below /v1/.
        noun: what one is called.
        deleting: what becomes of one that is deleted, for --help.
    """

    @app.command("list", help=f"List every {noun}.")
    def list_(
        output: OutputFlag = "table",
        namespace: NamespaceFlag = "default",
        data_dir: DataDirFlag = None,
        kubeconfig: KubeconfigFlag = None,
    ) -> None:
        print_objects(kind, listed(kubeconfig, data_dir, Target(kind, namespace)), output, single=False)

    @app.command("get", help=f"Print one {noun}, as Dispatch's API has it.")
    def get(
        name: Annotated[str, typer.Argument(metavar="NAME", help=f"Of the {noun}.")],
        namespace: NamespaceFlag = "default",
        data_dir: DataDirFlag = None,
        kubeconfig: KubeconfigFlag = None,
    ) -> None:
        out.print_json(data=ask(kubeconfig, data_dir, namespace, ("GET", f"{path}/{name}")), indent=4)

    @app.command("delete", help=f"Delete one {noun}. {deleting}")
    def delete(
        name: Annotated[str, typer.Argument(metavar="NAME", help=f"Of the {noun}.")],
        namespace: NamespaceFlag = "default",
        data_dir: DataDirFlag = None,
        kubeconfig: KubeconfigFlag = None,
    ) -> None:
        ask(kubeconfig, data_dir, namespace, ("DELETE", f"{path}/{name}"))
        out.print(f"Deleted {noun}: {name}", markup=False)


def make(kubeconfig: Path | None, data_dir: str | None, namespace: str, path: str, body: Document) -> Document:
    """Create an object, wait until it is READY, and return it; raises SkerryError with its reason where it can't be."""

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            door = Door(http, namespace)
            found: Document = await door.call("POST", path, body)
            while found.get("status") not in {"READY", "ERROR"}:
                await asyncio.sleep(_FOLLOW_SECONDS)
                found = await door.call("GET", f"{path}/{body['name']}")
            return found

    found = run(send())
    if found["status"] == "ERROR":
        raise SkerryError(f"{body['name']} can't be used: {'; '.join(found.get('reason') or ())}")
    return found


def tags_of(application: str) -> list[Document] | None:
    """Return the tags of an object of an application."""
    return [{"key": "Application", "value": application}] if application else None
