"""What the commands of Dispatch's objects share: `list`, `get` and `delete`, and waiting for one that is made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.dispatch import Door, NamespaceFlag, ask, listed, until_settled
from skerry.cli.printing import out, print_objects
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.transport import Target
from skerry.kit.errors import SkerryError

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
        out.print(f"Deleted {noun}: {name}")


def make(kubeconfig: Path | None, data_dir: str | None, namespace: str, path: str, body: Document) -> Document:
    """Create an object, wait until it is READY, and return it; raises SkerryError with its reason where it can't be."""

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            door = Door(http, namespace)
            found: Document = await door.call("POST", path, body)

            async def look() -> Document | None:
                nonlocal found
                if found.get("status") in {"READY", "ERROR"}:
                    return found
                found = await door.call("GET", f"{path}/{body['name']}")
                return None

            return await until_settled(body["name"], look)

    found = run(send())
    if found["status"] == "ERROR":
        raise SkerryError(f"{body['name']} can't be used: {'; '.join(found.get('reason') or ())}")
    return found


def tags_of(application: str) -> list[Document] | None:
    """Return the tags of an object of an application."""
    return [{"key": "Application", "value": application}] if application else None
