"""The commands. Each parses its flags, calls the client or `main`, and prints.

Exit codes: 0 done; 1 it failed, one sentence on standard error says why; 2 a flag or setting is wrong.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvloop

import skerry
from skerry.agent.development.project import Wishes, read_project
from skerry.api.errors import NotFound
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.kinds import Kind
from skerry.api.model import Document, to_document
from skerry.api.registry import KINDS
from skerry.cli import run_notes
from skerry.cli.agent import agent
from skerry.cli.certificates import certificates
from skerry.cli.connection import connected, read_access
from skerry.cli.dev import dev
from skerry.cli.endpoints import endpoints
from skerry.cli.event_drivers import drivers as event_drivers
from skerry.cli.event_drivers import types as event_driver_types
from skerry.cli.events import events, subscriptions
from skerry.cli.functions import functions
from skerry.cli.helping import command_of
from skerry.cli.images import base_images, images
from skerry.cli.injected_secrets import injected_secrets
from skerry.cli.invoke import invoke
from skerry.cli.log_flags import LogLevelFlag, LogStyleFlag
from skerry.cli.logs import logs
from skerry.cli.manifests import apply_document, read_manifests, target_of
from skerry.cli.nodes import nodes
from skerry.cli.pki import pki
from skerry.cli.plugins import plugins
from skerry.cli.printing import OUTPUTS, err, out, print_objects, spoken
from skerry.cli.progress import apply_and_wait, wait_until_ready
from skerry.cli.secrets import secrets
from skerry.cli.services import services
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, data_dir_of, list_all, pairs, run
from skerry.cli.starting import init
from skerry.cli.store import store
from skerry.cli.tokens import tokens
from skerry.cli.traffic import promote, revisions, rollback
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError, SkerryError

app = typer.Typer(
    help="Skerry: one control plane for code at the edge, and the runtime that runs it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(plugins, name="plugin")
app.add_typer(functions, name="function")
app.add_typer(nodes, name="node")
app.add_typer(images, name="image")
app.add_typer(base_images, name="base-image")
app.add_typer(events, name="event")
app.add_typer(subscriptions, name="subscription")
app.add_typer(event_drivers, name="event-driver")
app.add_typer(event_driver_types, name="event-driver-type")
app.add_typer(endpoints, name="endpoint")
app.add_typer(services, name="service")
app.add_typer(injected_secrets, name="secret")
app.add_typer(secrets, name="secrets")
app.add_typer(agent, name="agent")
app.add_typer(store, name="store")
app.add_typer(pki, name="pki")
app.add_typer(tokens, name="token")
app.add_typer(certificates, name="certificate")
for each in (init, dev, invoke, logs, revisions, rollback, promote):
    app.command()(each)

NamespaceFlag = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of namespaced objects.")]
FileFlag = Annotated[
    list[str], typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Files with objects, YAML or JSON.")
]


@cache
def command() -> Any:
    """Return all commands, put together."""
    return command_of(app)


def main() -> None:
    """Run the command line; every expected failure is one sentence and an exit code."""
    try:
        command()()
    except SkerryError as error:
        _fail(error)
    except ExceptionGroup as group:  # a part died while others ran: its own error is what matters
        expected = group.subgroup(SkerryError)
        if expected is None or group.split(SkerryError)[1] is not None:
            raise
        _fail(_first(expected))


def _first(error: Exception) -> SkerryError:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, SkerryError)  # noqa: S101 - the group was picked by this type
    return error


def _fail(error: SkerryError) -> NoReturn:
    err.print(f"error: {error.public}")
    if error.detail and error.detail not in error.public:
        err.print(error.detail)
    sys.exit(2 if isinstance(error, ConfigurationError) else 1)


DatabaseFlag = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="postgresql://USER@HOST/NAME or sqlite:///FILE; a password is better told by SKERRY_DATABASE.",
    ),
]


@app.command()
def up(
    data_dir: DataDirFlag = None,
    api_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the API listens. Default: 127.0.0.1:6443")
    ] = None,
    http_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the gateway listens. Default: 127.0.0.1:8080")
    ] = None,
    workers: Annotated[str | None, typer.Option(metavar="N", help="Engine processes. Default: one a core.")] = None,
    faas: Annotated[
        str | None,
        typer.Option(
            metavar="DRIVER",
            help="Where functions with typed input and output run: local (default), docker, openfaas, knative, "
            "openwhisk or noop. More of each: the settings faas_...",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, TOML.")] = None,
    log_level: LogLevelFlag = None,
    log_style: LogStyleFlag = None,
    database: DatabaseFlag = None,
    apply: Annotated[list[str] | None, typer.Option(metavar="FILE|DIR", help="Apply these objects once ready.")] = None,
) -> None:
    """Run everything on this machine: API, controllers, gateway and engine.

    Port 0 stands for any free port. When every part is ready, prints `ready` and the addresses, and writes them to
    run.json in the data directory. Stops on Ctrl-C or SIGTERM, after the requests in flight.
    """
    # gRPC reads this when it is imported: what it does around a fork is of no use to us, since every fork is an exec.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    from skerry.main.configuration import load_settings
    from skerry.main.process import Running, run_process
    from skerry.main.up import everything

    flags = {
        "data_dir": data_dir,
        "api_address": api_address,
        "http_address": http_address,
        "workers": workers,
        "faas": faas,
        "log_level": log_level,
        "log_style": log_style,
        "database": database,
    }
    settings = load_settings(flags, os.environ, file=config)
    manifests = [manifest for path in apply or () for manifest in read_manifests(path, sys.stdin)]

    async def when_ready(running: Running) -> None:
        out.print("ready")
        out.print(f"  API         {running.api_url}")
        out.print(f"  gateway     {running.http_url}")
        out.print(f"  kubeconfig  {running.kubeconfig}")
        if manifests:
            access = read_access(running.kubeconfig)
            await apply_and_wait(access, manifests, running.http_url)
        sys.stdout.flush()

    uvloop.run(run_process(settings, everything, when_ready))


@app.command()
def serve(
    data_dir: DataDirFlag = None,
    database: DatabaseFlag = None,
    api_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the API listens. Default: 127.0.0.1:6443")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, TOML.")] = None,
    log_level: LogLevelFlag = None,
    log_style: LogStyleFlag = None,
) -> None:
    """Run the control plane alone, as one of any number of replicas on a PostgreSQL database.

    Every replica answers the API; the one that holds the lease kube-system/skerry-controllers runs the controllers.
    Prints `ready` as `skerry up` does, and stops likewise. Another replica's data directory begins as a copy of `pki/`
    and `kubeconfig` of the first one's.
    """
    from skerry.main.configuration import load_settings
    from skerry.main.process import Running, run_process
    from skerry.main.serve import replica

    flags = {
        "data_dir": data_dir,
        "database": database,
        "api_address": api_address,
        "log_level": log_level,
        "log_style": log_style,
    }
    settings = load_settings(flags, os.environ, file=config)

    async def when_ready(running: Running) -> None:
        out.print("ready")
        out.print(f"  API         {running.api_url}")
        out.print(f"  kubeconfig  {running.kubeconfig}")
        sys.stdout.flush()

    uvloop.run(run_process(settings, replica, when_ready))


@app.command()
def status(
    data_dir: DataDirFlag = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until Skerry is ready.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait, such as 60s.")] = "60s",
) -> None:
    """Tell whether Skerry runs on the data directory, and where it listens.

    Exit code 0: it is ready. 1: it is not.
    """
    root = data_dir_of(data_dir)
    note = run(run_notes.wait_for_note(root, timeout_seconds=run_notes.seconds(timeout) if wait else 0))
    out.print(f"ready (pid {note['pid']})")
    out.print(f"  API      {note['api']}")
    out.print(f"  gateway  {note['http']}")


@app.command()
def deploy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with the function's sources.")],
    name: Annotated[str | None, typer.Option(help="Default: that of edgefunction.yaml, else the folder's.")] = None,
    entrypoint: Annotated[str | None, typer.Option(metavar="PATH", help="Default: index.ts, index.js, ...")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Repeatable.")] = None,
    request_timeout: Annotated[str | None, typer.Option(help="Limit of one request, such as 10s.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it serves.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "60s",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Make an EdgeFunction from a folder of JavaScript or TypeScript, and wait until it serves.

    The printed revision can be brought back later: deploy the older sources again.
    """
    function = read_project(folder, Wishes(name, entrypoint, pairs(env or []), request_timeout))
    access = access_of(kubeconfig, data_dir)
    wait_seconds = run_notes.seconds(timeout) if wait else 0

    async def send() -> None:
        async with connected(access) as http:
            transport = HttpTransport(http)
            target = Target(EDGE_FUNCTION, name=function.name)
            outcome = await apply_document(transport, target, to_document(function))
            out.print(f"edgefunction/{function.name} {outcome}")
            if wait_seconds:
                await wait_until_ready(transport, function.name, wait_seconds)

    run(send())


@app.command()
def apply(
    filename: FileFlag,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Create or change the objects of files: a small `kubectl apply`."""
    manifests = [manifest for path in filename for manifest in read_manifests(path, sys.stdin)]

    async def send() -> None:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            for manifest in manifests:
                target = target_of(manifest, namespace)
                outcome = await apply_document(HttpTransport(http), target, manifest.document)
                out.print(f"{spoken(target)} {outcome}")

    run(send())


@app.command()
def get(
    resource: Annotated[str, typer.Argument(metavar="KIND", help="A kind: its plural, singular or short name.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of one object.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table, wide, yaml, json or name.")] = "table",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Label selector.")] = "",
    namespace: NamespaceFlag = "default",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print objects: a small `kubectl get`."""
    if output not in OUTPUTS:
        raise ConfigurationError(f"--output: {output!r} is not one of {', '.join(OUTPUTS)}")
    kind = _find_kind(resource)
    target = Target(kind, namespace if kind.namespaced and not all_namespaces else "", name or "")

    async def fetch() -> list[Document]:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            transport = HttpTransport(http)
            if name is not None:
                return [await transport.get(target)]
            return await list_all(transport, target, selector)

    print_objects(kind, run(fetch()), output, single=name is not None)


@app.command()
def delete(
    resource: Annotated[
        str | None, typer.Argument(metavar="KIND", help="A kind: its plural, singular or short name.")
    ] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Names of objects.")] = None,
    filename: Annotated[
        list[str] | None, typer.Option("--filename", "-f", metavar="FILE|DIR|-", help="Files with the objects.")
    ] = None,
    namespace: NamespaceFlag = "default",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is fine.")] = False,
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Delete objects by kind and name, or those of files: a small `kubectl delete`."""
    targets = [target_of(m, namespace) for path in filename or () for m in read_manifests(path, sys.stdin)]
    if resource and names:
        kind = _find_kind(resource)
        targets += [Target(kind, namespace if kind.namespaced else "", name) for name in names]
    if not targets:
        raise ConfigurationError("name a kind and its objects, or give --filename")

    async def send() -> None:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            for target in targets:
                try:
                    await HttpTransport(http).delete(target)
                except NotFound:
                    if not ignore_not_found:
                        raise
                else:
                    out.print(f"{spoken(target)} deleted")

    run(send())


@app.command()
def version() -> None:
    """Print the version of this program."""
    out.print(f"skerry {skerry.__version__}")


@app.command()
def config(
    data_dir: DataDirFlag = None,
    file: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings, TOML.")] = None,
) -> None:
    """Print the settings that `skerry up` would use, and nothing secret."""
    from skerry.main.configuration import load_settings

    for name, text in load_settings({"data_dir": data_dir}, os.environ, file=file).as_text().items():
        out.print(f"{name} = {text}")


def _find_kind(word: str) -> Kind[Any]:
    wanted = word.lower()
    for kind in KINDS:
        if wanted in {kind.plural, kind.singular, kind.resource, *kind.short_names}:
            return kind
    known = ", ".join(kind.plural for kind in KINDS)
    raise ConfigurationError(f"there is no kind {word!r}; known are {known}")
