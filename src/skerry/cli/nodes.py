"""`skerry node`: what applications print on the nodes of a fleet, how they are there, and what functions count."""

from typing import Annotated

import httpx
import typer

from skerry.cli.connection import CONNECT_SECONDS, Access, connected
from skerry.cli.dispatch import path_of
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.answers import read_refusal, refusal
from skerry.kit.errors import SkerryError

nodes = typer.Typer(help="Nodes of a fleet: what runs there prints, how it is, and counts.", no_args_is_help=True)

Node = Annotated[str, typer.Argument(metavar="NODE", help="A node that has a link to the control plane.")]
Application = Annotated[str, typer.Argument(metavar="APP", help="An application that it runs.")]
NamespaceFlag = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace of the node.")]
InstanceFlag = Annotated[
    str, typer.Option("--instance", metavar="NAME", help="One that the node reported; the first one by default.")
]


@nodes.command("logs")
def logs(
    node: Node,
    application: Application,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    previous: Annotated[bool, typer.Option("--previous", help="The log from before it was begun anew.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Begin with N lines.")] = None,
    instance: InstanceFlag = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print what an instance of an application prints on its node."""
    query = {
        **({"follow": "true"} if follow else {}),
        **({"previous": "true"} if previous else {}),
        **({"tailLines": str(tail)} if tail is not None else {}),
    }
    access = access_of(kubeconfig, data_dir)
    run(_print(access, namespace, path_of("nodes", node, "apps", application, "logs"), _with(query, instance)))


@nodes.command("describe")
def describe(
    node: Node,
    application: Application,
    *,
    instance: InstanceFlag = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print how an application is on a node, as the node itself says it."""
    access = access_of(kubeconfig, data_dir)
    run(_print(access, namespace, path_of("nodes", node, "apps", application, "describe"), _with({}, instance)))


@nodes.command("metrics")
def metrics(
    node: Node,
    *,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print what the functions count that a node's Gateways serve, as text for Prometheus."""
    run(_print(access_of(kubeconfig, data_dir), namespace, path_of("nodes", node, "metrics"), {}))


def _with(query: dict[str, str], instance: str) -> dict[str, str]:
    return {**query, "instance": instance} if instance else query


async def _print(access: Access, namespace: str, path: str, query: dict[str, str]) -> None:
    """Print what is answered as it comes; raises SkerryError.

    Args:
        access: to the server.
        namespace: of the node.
        path: what is asked for.
        query: how.
    """
    headers = {"x-baetyl-namespace": namespace}
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)  # one that follows a silent log waits
    try:
        async with (
            connected(access) as http,
            http.stream("GET", path, params=query, headers=headers, timeout=timeout) as answer,
        ):
            if not answer.is_success:
                told = refusal(answer.status_code, await read_refusal(answer))
                raise SkerryError(f"{told.get('code', answer.status_code)}: {told.get('message', '')}")
            async for text in answer.aiter_text():
                typer.echo(text, nl=False)
    except httpx.HTTPError as error:
        raise SkerryError(f"the server can't be reached: {error}") from error
