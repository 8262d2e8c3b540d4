"""`skerry endpoint ...`: paths of the gateway that call functions; Dispatch's `api`."""

from typing import Annotated

import typer

from skerry.api.dispatch_endpoints import ENDPOINT
from skerry.cli.dispatch import NamespaceFlag, note_missing
from skerry.cli.dispatch_objects import ApplicationFlag, add_commands, make, tags_of
from skerry.cli.printing import out
from skerry.cli.session import DataDirFlag, KubeconfigFlag

endpoints = typer.Typer(
    help="""Endpoints: paths of the gateway that call functions.

    For example: skerry endpoint create hello hello --path /hello --method GET --method POST;
    curl 'http://127.0.0.1:8080/default/hello?name=Jon'
    """,
    no_args_is_help=True,
)
add_commands(endpoints, ENDPOINT, "api", "endpoint", deleting="Its function stays.")


@endpoints.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the endpoint.")],
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function that answers.")],
    path: Annotated[
        list[str] | None,
        typer.Option("--path", "-p", metavar="PATH", help="Below /<namespace>; Default: /. Repeatable."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", metavar="METHOD", help="Default: GET. Repeatable.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", "-d", metavar="HOST", help="Default: any host. Repeatable.")
    ] = None,
    cors: Annotated[bool, typer.Option("--cors", help="Let scripts of any site call it.")] = False,
    https_only: Annotated[bool, typer.Option("--https-only", help="Refuse plain HTTP.")] = False,
    disable: Annotated[bool, typer.Option("--disable", help="Take no requests yet.")] = False,
    application: ApplicationFlag = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Lead a path of the gateway to a function, wait until requests get there, and print where it answers.

    The query of a GET, a form or a JSON body is the function's input; its output is the answer.
    """
    body = {
        "name": name,
        "function": function,
        "uris": path or ["/"],
        "methods": [each.upper() for each in method or ["GET"]],
        "hosts": domain,
        "cors": cors,
        "protocols": ["https"] if https_only else None,
        "enabled": not disable,
        "tags": tags_of(application),
    }
    made = make(kubeconfig, data_dir, namespace, "api", body)
    out.print(f"Created endpoint: {name}")
    for url in made["urls"] or ():
        out.print(url)
    note_missing(kubeconfig, data_dir, namespace, function)
