"""`skerry function ...`: functions with typed input and output, and their runs, as Dispatch's own command has them."""

import asyncio
import base64
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from skerry.api.dispatch_v1 import FUNCTION, RUN
from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.printing import out, print_objects
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, list_all, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError, SkerryError

#: How long `exec --wait` and `create --wait` wait: what the server takes for one request.
WAIT_SECONDS_MAX = 50
_FOLLOW_SECONDS = 0.2

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The function's name.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as `exec` and `runs` print it.")]
PathArgument = Annotated[
    Path, typer.Argument(metavar="PATH", exists=True, help="One source file, or a folder (then --handler is needed).")
]
ImageFlag = Annotated[str, typer.Option("--image", "-i", metavar="IMAGE", help="The runtime: python3 or nodejs.")]
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
NamespaceFlag = Annotated[str, typer.Option("--namespace", "-n", help="The namespace; Dispatch's organization.")]

functions = typer.Typer(help="Functions with typed input and output, and their runs.", no_args_is_help=True)


class _Door:
    """Dispatch's front door, for one organization."""

    def __init__(self, http: httpx.AsyncClient, namespace: str) -> None:
        self._http = http
        self._organization = {"X-Dispatch-Org": namespace}

    async def call(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None, **headers: str
    ) -> Any:
        """Send a request; return the answer's document. Raises SkerryError with the server's sentence."""
        try:
            answer = await self._http.request(
                method,
                f"/v1/{path}",
                params=query,
                json=body,
                headers=self._organization | headers,
                timeout=httpx.Timeout(WAIT_SECONDS_MAX + 15.0),
            )
        except httpx.HTTPError as error:
            raise SkerryError(f"the server can't be reached: {error}") from error
        document = answer.json() if answer.content else {}
        if answer.is_error and "name" not in document:
            raise SkerryError(f"[Code: {document.get('code', answer.status_code)}] {document.get('message', '')}")
        return document


def _ask(
    kubeconfig: Path | None, data_dir: str | None, namespace: str, request: tuple[str, str], **more: Any
) -> Document:
    """Send one request, method and path; return the answer's document."""

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            answer: Document = await _Door(http, namespace).call(*request, **more)
            return answer

    return run(send())


def _list(kubeconfig: Path | None, data_dir: str | None, target: Target) -> list[Document]:
    async def fetch() -> list[Document]:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            return await list_all(HttpTransport(http), target)

    return run(fetch())


def _read_json(path: Path | None, flag: str) -> Document | None:
    if path is None:
        return None
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{flag}: {path} must hold a JSON object")
    return document


def _packed(path: Path) -> bytes:
    """Pack a file, at the root, or a folder's content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        if path.is_file():
            archive.add(path, path.name)
        else:
            for entry in sorted(path.iterdir()):
                archive.add(entry, entry.name)
    return packed.getvalue()


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
        "source": base64.b64encode(_packed(path)).decode(),
        "schema": {"in": _read_json(schema_in, "--schema-in"), "out": _read_json(schema_out, "--schema-out")},
        "secrets": secret,
        "services": service,
        "timeout": timeout,
        "tags": [{"key": "Application", "value": application}] if application else None,
    }

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            door = _Door(http, namespace)
            method, where = ("PUT", f"function/{name}") if update else ("POST", "function")
            await door.call(method, where, body)
            return await _deployed(HttpTransport(http), namespace, name)

    status = run(send())["status"]
    if status.get("reason"):
        raise SkerryError(f"function {name} is not deployed: {'; '.join(status['reason'])}")
    out.print(f"{'Updated' if update else 'Created'} function: {name}", markup=False)


async def _deployed(transport: HttpTransport, namespace: str, name: str) -> Document:
    """Wait until the newest state of a function is deployed, or failed to be."""
    while True:
        function = await transport.get(Target(FUNCTION, namespace, name))
        status = function.get("status") or {}
        if status.get("observedGeneration") == function["metadata"].get("generation"):
            return function
        await asyncio.sleep(_FOLLOW_SECONDS)


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
        payload = json.loads(sys.stdin.read() if input_ == "-" else input_)
    except ValueError as error:
        raise ConfigurationError(f"Error when parsing function parameters {input_!r}: {error}") from error
    body = {"blocking": wait, "input": payload, "secrets": secret, "services": service}
    query = {"functionName": name}
    answer = _ask(kubeconfig, data_dir, namespace, ("POST", "runs"), body=body, query=query)
    out.print_json(json.dumps(answer), indent=4)
    if answer["status"] == "ERROR":
        raise typer.Exit(1)


@functions.command()
def runs(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The function; all by default.")] = "",
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|json|yaml", help="How to print.")] = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List runs, of one function or of all."""
    found = _list(kubeconfig, data_dir, Target(RUN, namespace))
    found = [item for item in found if name in {"", item["spec"]["functionName"]}]
    print_objects(RUN, found, output, single=False)


@functions.command()
def logs(
    name: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until the run has ended.")] = False,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print what a run printed: its standard output here, its standard error there."""

    async def fetch() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            door = _Door(http, namespace)
            while True:
                found: Document = await door.call("GET", f"runs/{name}")
                if not follow or found["status"] in {"READY", "ERROR"}:
                    return found
                await asyncio.sleep(_FOLLOW_SECONDS)

    printed = run(fetch()).get("logs") or {}
    for line in printed.get("stdout") or ():
        typer.echo(line)
    for line in printed.get("stderr") or ():
        typer.echo(line, err=True)


@functions.command("list")
def list_(
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|json|yaml", help="How to print.")] = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List functions."""
    print_objects(FUNCTION, _list(kubeconfig, data_dir, Target(FUNCTION, namespace)), output, single=False)


@functions.command()
def cancel(
    name: RunArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Cancel a run that goes on; remove one that is over."""
    answer = _ask(kubeconfig, data_dir, namespace, ("DELETE", f"runs/{name}"))
    done = "removed" if answer["status"] in {"READY", "ERROR"} else "cancelled"
    out.print(f"run {name} {done}", markup=False)


@functions.command()
def delete(
    name: NameArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Delete a function with its runs."""
    _ask(kubeconfig, data_dir, namespace, ("DELETE", f"function/{name}"))
    out.print(f"Deleted function: {name}", markup=False)
