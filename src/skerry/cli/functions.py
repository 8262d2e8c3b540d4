"""`skerry function ...`: functions with typed input and output, and their runs, as Dispatch's own command has them."""

import base64
import json
from pathlib import Path
from typing import Annotated

import typer

from skerry.api.dispatch_v1 import FUNCTION, RUN
from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.dispatch import Door, NamespaceFlag, ask, listed, until_settled
from skerry.cli.packing import packed
from skerry.cli.printing import out, print_objects
from skerry.cli.reading import read_text
from skerry.cli.run_logs import print_logs
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError, SkerryError

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The function's name.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as `exec` and `runs` print it.")]
PathArgument = Annotated[
    Path, typer.Argument(metavar="PATH", exists=True, help="One source file, or a folder (then --handler is needed).")
]
ImageFlag = Annotated[
    str, typer.Option("--image", "-i", metavar="IMAGE", help="An image, or a runtime of this machine: python3, nodejs.")
]
HandlerFlag = Annotated[
    str, typer.Option("--handler", metavar="MODULE.FUNCTION", help="Default: the function `handle` of the file.")
]
SchemaInFlag = Annotated[
    Path | None, typer.Option("--schema-in", metavar="FILE", exists=True, help="JSON Schema of the input.")
]
SchemaOutFlag = Annotated[
    Path | None, typer.Option("--schema-out", metavar="FILE", exists=True, help="JSON Schema of the output.")
]
SecretFlag = Annotated[list[str] | None, typer.Option("--secret", metavar="NAME", help="A secret. Repeatable.")]
ServiceFlag = Annotated[
    list[str] | None, typer.Option("--service", metavar="NAME", help="A service instance. Repeatable.")
]
TimeoutFlag = Annotated[int, typer.Option("--timeout", metavar="MS", min=0, help="Milliseconds that a run may take.")]
ApplicationFlag = Annotated[str, typer.Option("--application", "-a", metavar="APP", help="Tag it with an application.")]

functions = typer.Typer(help="Functions with typed input and output, and their runs.", no_args_is_help=True)


def _read_json(path: Path | None, flag: str) -> Document | None:
    if path is None:
        return None
    try:
        document = json.loads(read_text(path, flag))
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{flag}: {path} must hold a JSON object")
    return document


@functions.command()
def create(
    name: NameArgument,
    path: PathArgument,
    image: ImageFlag = "python3",
    handler: HandlerFlag = "",
    schema_in: SchemaInFlag = None,
    schema_out: SchemaOutFlag = None,
    secret: SecretFlag = None,
    service: ServiceFlag = None,
    timeout: TimeoutFlag = 0,
    application: ApplicationFlag = "",
    update: Annotated[bool, typer.Option("--update", help="Replace the function of that name.")] = False,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Register a function, and wait until it can be run.

    With --update an existing one is replaced; it serves until the new state is deployed.
    """
    if path.is_dir() and not handler:
        raise ConfigurationError(
            f"error creating function {name}: handler is required, source path {path} is a directory"
        )
    body = {
        "name": name,
        "image": image,
        "handler": handler,
        "source": base64.b64encode(packed(path)).decode(),
        "schema": {"in": _read_json(schema_in, "--schema-in"), "out": _read_json(schema_out, "--schema-out")},
        "secrets": secret,
        "services": service,
        "timeout": timeout,
        "tags": [{"key": "Application", "value": application}] if application else None,
    }

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            door = Door(http, namespace)
            method, where = ("PUT", f"function/{name}") if update else ("POST", "function")
            await door.call(method, where, body)
            return await _deployed(HttpTransport(http), namespace, name)

    status = run(send())["status"]
    if status.get("reason"):
        raise SkerryError(f"function {name} is not deployed: {'; '.join(status['reason'])}")
    out.print(f"{'Updated' if update else 'Created'} function: {name}")


async def _deployed(transport: HttpTransport, namespace: str, name: str) -> Document:
    """Wait until the newest state of a function is deployed, or failed to be."""

    async def look() -> Document | None:
        function = await transport.get(Target(FUNCTION, namespace, name))
        status = function.get("status") or {}
        return function if status.get("observedGeneration") == function["metadata"].get("generation") else None

    return await until_settled(f"function {name}", look)


@functions.command("exec")
def exec_(
    name: NameArgument,
    input_: Annotated[str, typer.Option("--input", metavar="JSON", help="The payload; - reads it from stdin.")] = "{}",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 1 where the run fails.")] = False,
    secret: SecretFlag = None,
    service: ServiceFlag = None,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Run a function, and print the run as JSON."""
    try:
        payload = json.loads(read_text("-", "--input") if input_ == "-" else input_)
    except ValueError as error:
        raise ConfigurationError(f"Error when parsing function parameters {input_!r}: {error}") from error
    body = {"blocking": wait, "input": payload, "secrets": secret, "services": service}
    query = {"functionName": name}
    answer = ask(kubeconfig, data_dir, namespace, ("POST", "runs"), body=body, query=query)
    out.print_json(json.dumps(answer), indent=4)
    if answer["status"] == "ERROR":
        raise typer.Exit(1)


@functions.command()
def runs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The function; all by default.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|json|yaml", help="How to print.")] = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List runs, of one function or of all."""
    found = listed(kubeconfig, data_dir, Target(RUN, namespace))
    found = [item for item in found if name in {"", item["spec"]["functionName"]}]
    print_objects(RUN, found, output, single=False)


@functions.command()
def logs(
    name: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print what a run printed: its standard output here, its standard error there."""
    print_logs(name, follow=follow, namespace=namespace, data_dir=data_dir, kubeconfig=kubeconfig)


@functions.command()
def get(
    name: NameArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print one function, as Dispatch's API has it."""
    out.print_json(data=ask(kubeconfig, data_dir, namespace, ("GET", f"function/{name}")), indent=4)


@functions.command("list")
def list_(
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|json|yaml", help="How to print.")] = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List functions."""
    print_objects(FUNCTION, listed(kubeconfig, data_dir, Target(FUNCTION, namespace)), output, single=False)


@functions.command()
def cancel(
    name: RunArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Cancel a run that goes on; remove one that is over."""
    answer = ask(kubeconfig, data_dir, namespace, ("DELETE", f"runs/{name}"))
    done = "removed" if answer["status"] in {"READY", "ERROR"} else "cancelled"
    out.print(f"run {name} {done}")


@functions.command()
def delete(
    name: NameArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Delete a function with its runs."""
    ask(kubeconfig, data_dir, namespace, ("DELETE", f"function/{name}"))
    out.print(f"Deleted function: {name}")
