"""`skerry image ...`, `skerry base-image ...`: what functions are made from, as Dispatch's own command has them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from skerry.api.dispatch_images import BASE_IMAGE, IMAGE
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.cli.connection import connected
from skerry.cli.dispatch import Door, NamespaceFlag, ask, listed, until_settled
from skerry.cli.printing import out, print_objects
from skerry.cli.reading import read_text
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, run
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError, SkerryError

ImageArgument = Annotated[str, typer.Argument(metavar="NAME", help="The image's name.")]
BaseArgument = Annotated[str, typer.Argument(metavar="NAME", help="The base image's name.")]
ApplicationFlag = Annotated[str, typer.Option("--application", "-a", metavar="APP", help="Tag it with an application.")]
UpdateFlag = Annotated[bool, typer.Option("--update", help="Replace the one of that name.")]
OutputFlag = Annotated[str, typer.Option("--output", "-o", metavar="table|json|yaml", help="How to print.")]

images = typer.Typer(
    help="""Images: what functions are made from, a base image with packages.

    For example: skerry base-image create base docker.io/skerry/python3 --language python3;
    skerry image create web base --runtime-deps requirements.txt;
    skerry function create hello hello.py --image web
    """,
    no_args_is_help=True,
)
base_images = typer.Typer(help="Base images: a language's runtime, which images are made from.", no_args_is_help=True)


@images.command("create")
def create_image(
    name: ImageArgument,
    base: Annotated[str, typer.Argument(metavar="BASE", help="The base image's name.")],
    runtime_deps: Annotated[
        Path | None,
        typer.Option(
            "--runtime-deps",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Packages of the language: requirements.txt for python3, package.json for nodejs.",
        ),
    ] = None,
    system_deps: Annotated[
        Path | None,
        typer.Option(
            "--system-deps",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Packages of the operating system, `NAME [VERSION]` a line; only where functions run in containers.",
        ),
    ] = None,
    application: ApplicationFlag = "",
    update: UpdateFlag = False,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Make an image of a base image and packages, and wait until functions can be made from it.

    With --update an existing one is replaced: the functions that are made from it serve until they are made anew.
    """
    body: Document = {"name": name, "baseImageName": base, "tags": _tags(application)}
    if runtime_deps:
        body["runtimeDependencies"] = {"manifest": read_text(runtime_deps, "--runtime-deps")}
    if system_deps:
        body["systemDependencies"] = {"packages": _packages(system_deps)}
    request = ("PUT", f"image/{name}") if update else ("POST", "image")
    _make(IMAGE, kubeconfig, data_dir, namespace, request, body)
    out.print(f"{'Updated' if update else 'Created'} image: {name}")


@base_images.command("create")
def create_base_image(
    name: BaseArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="The container image, registry/name:tag.")],
    language: Annotated[str, typer.Option("--language", "-l", metavar="LANGUAGE", help="python3, nodejs and so on.")],
    application: ApplicationFlag = "",
    update: UpdateFlag = False,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Register a base image, and wait until images can be made from it.

    Where functions run as processes of this machine, nothing is pulled: the language says which runtime is meant.
    """
    body = {"name": name, "dockerUrl": url, "language": language, "tags": _tags(application)}
    request = ("PUT", f"baseimage/{name}") if update else ("POST", "baseimage")
    _make(BASE_IMAGE, kubeconfig, data_dir, namespace, request, body)
    out.print(f"{'Updated' if update else 'Created'} base image: {name}")


def _make(
    kind: Kind[Any],
    kubeconfig: Path | None,
    data_dir: str | None,
    namespace: str,
    request: tuple[str, str],
    body: Document,
) -> None:
    """Ask for an image, and wait until it is there, or was found not to be possible."""

    async def send() -> Document:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            await Door(http, namespace).call(*request, body)

            async def look() -> Document | None:
                found: Document = await HttpTransport(http).get(Target(kind, namespace, body["name"]))
                status: Document = found.get("status") or {}
                return status if status.get("observedGeneration") == found["metadata"].get("generation") else None

            return await until_settled(body["name"], look)

    status = run(send())
    if status.get("reason"):
        raise SkerryError(f"{body['name']} is not there: {'; '.join(status['reason'])}")


@images.command("list")
def list_images(
    output: OutputFlag = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List images."""
    print_objects(IMAGE, listed(kubeconfig, data_dir, Target(IMAGE, namespace)), output, single=False)


@base_images.command("list")
def list_base_images(
    output: OutputFlag = "table",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """List base images."""
    print_objects(BASE_IMAGE, listed(kubeconfig, data_dir, Target(BASE_IMAGE, namespace)), output, single=False)


@images.command("get")
def get_image(
    name: ImageArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print an image, as Dispatch's API has it."""
    out.print_json(data=ask(kubeconfig, data_dir, namespace, ("GET", f"image/{name}")), indent=4)


@base_images.command("get")
def get_base_image(
    name: BaseArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Print a base image, as Dispatch's API has it."""
    out.print_json(data=ask(kubeconfig, data_dir, namespace, ("GET", f"baseimage/{name}")), indent=4)


@images.command("delete")
def delete_image(
    name: ImageArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Delete an image. The functions that are made from it go on, and can't be made anew."""
    ask(kubeconfig, data_dir, namespace, ("DELETE", f"image/{name}"))
    out.print(f"Deleted image: {name}")


@base_images.command("delete")
def delete_base_image(
    name: BaseArgument,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Delete a base image. The images that are made from it stay, and can't be made anew."""
    ask(kubeconfig, data_dir, namespace, ("DELETE", f"baseimage/{name}"))
    out.print(f"Deleted base image: {name}")


def _tags(application: str) -> list[Document] | None:
    return [{"key": "Application", "value": application}] if application else None


def _packages(path: Path) -> list[Document]:
    found = []
    for line in read_text(path, "--system-deps").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 2:
            raise ConfigurationError(f"--system-deps: {path}: {line!r} must be NAME [VERSION]")
        if words:
            found.append({"name": words[0], "version": words[1] if len(words) == 2 else ""})
    return found
