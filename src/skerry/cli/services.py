"""`skerry service ...`: service classes, and instances whose credentials functions get."""

import json
from typing import Annotated

import typer

from skerry.api.dispatch_services import DEFAULT_PLAN, SERVICE_CLASS, SERVICE_INSTANCE
from skerry.api.model import Document
from skerry.cli.dispatch import NamespaceFlag, listed
from skerry.cli.dispatch_objects import ApplicationFlag, OutputFlag, add_commands, make, tags_of
from skerry.cli.printing import out, print_objects
from skerry.cli.session import DataDirFlag, KubeconfigFlag
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError

services = typer.Typer(
    help="""Services: instances whose credentials functions get.

    For example: skerry service classes; skerry service create orders postgresql small --parameters '{"size": 10}';
    skerry function create store store.py --service orders
    """,
    no_args_is_help=True,
)
add_commands(
    services,
    SERVICE_INSTANCE,
    "serviceinstance",
    "service instance",
    deleting="It is unbound and deprovisioned; functions that name it fail from now on.",
)


@services.command()
def classes(
    output: OutputFlag = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List what instances can be made of: what brokers offer, and what is user-provided."""
    print_objects(SERVICE_CLASS, listed(kubeconfig, data_dir, Target(SERVICE_CLASS, namespace)), output, single=False)


@services.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="By which functions name it.")],
    service_class: Annotated[str, typer.Argument(metavar="CLASS", help="As `skerry service classes` lists it.")],
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Of the class.")] = DEFAULT_PLAN,
    parameters: Annotated[
        str,
        typer.Option("--parameters", "-p", metavar="JSON", help="For the broker; the credentials, if user-provided."),
    ] = "",
    secret: Annotated[
        list[str] | None, typer.Option("--secret", "-s", metavar="NAME", help="Its values are parameters. Repeatable.")
    ] = None,
    binding_parameters: Annotated[
        str, typer.Option("--binding-parameters", "-P", metavar="JSON", help="For the broker, when it binds.")
    ] = "",
    binding_secret: Annotated[
        list[str] | None, typer.Option("--binding-secret", "-S", metavar="NAME", help="Likewise. Repeatable.")
    ] = None,
    application: ApplicationFlag = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Make an instance of a service, and wait until functions can use it."""
    body: Document = {
        "name": name,
        "serviceClass": service_class,
        "servicePlan": plan,
        "parameters": _object(parameters, "--parameters"),
        "secretParameters": secret,
        "tags": tags_of(application),
    }
    if binding_parameters or binding_secret:
        bound = _object(binding_parameters, "--binding-parameters")
        body["binding"] = {"parameters": bound, "secretParameters": binding_secret}
    make(kubeconfig, data_dir, namespace, "serviceinstance", body)
    out.print(f"Created service instance: {name}")


def _object(text: str, flag: str) -> Document | None:
    if not text:
        return None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{flag} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{flag} must be a JSON object")
    return document
