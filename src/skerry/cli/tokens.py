"""`skerry token ...`: bearer tokens for other users.

The token is made here and printed once; the server gets its digest only.
"""

import datetime as dt
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from skerry.api.authentication_v1alpha1 import TOKEN, Token, TokenSpec, token_sha256, token_text
from skerry.api.model import Document, ObjectMeta, to_document
from skerry.cli import run_notes
from skerry.cli.connection import Access, connected
from skerry.cli.printing import err, out, print_objects
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, list_all, run
from skerry.client.http import HttpTransport
from skerry.client.kubeconfig import kubeconfig as kubeconfig_of
from skerry.client.transport import Target
from skerry.kit.clock import SystemClock, rfc3339
from skerry.kit.errors import ConfigurationError, SkerryError
from skerry.kit.files import write_private
from skerry.kit.ids import RandomIds

NAME_CHARACTERS = 10
SECRET_BYTES = 32

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Name of the user that it stands for.")]
GroupFlag = Annotated[list[str] | None, typer.Option("--group", metavar="G", help="A group of the user. Repeatable.")]
ExpiresFlag = Annotated[str, typer.Option("--expires", metavar="TIME", help="How long it is valid, such as 24h.")]
KubeconfigOutFlag = Annotated[
    Path | None, typer.Option("--kubeconfig-out", metavar="FILE", help="Write a kubeconfig with it instead.")
]

tokens = typer.Typer(help="Bearer tokens for other users.", no_args_is_help=True)


@tokens.command()
def create(
    user: UserArgument,
    group: GroupFlag = None,
    expires: ExpiresFlag = "24h",
    kubeconfig_out: KubeconfigOutFlag = None,
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Make a token and print it. It can't be shown again: the server keeps its digest only."""
    access, name = access_of(kubeconfig, data_dir), RandomIds().suffix(NAME_CHARACTERS)
    check_writable(kubeconfig_out)
    text = token_text(name, secrets.token_urlsafe(SECRET_BYTES))
    ends = end_of(expires)
    spec = TokenSpec(username=user, groups=group or [], expiration_timestamp=rfc3339(ends), sha256=token_sha256(text))
    token = Token(api_version=TOKEN.api_version, kind=TOKEN.kind, metadata=ObjectMeta(name=name), spec=spec)

    async def send() -> None:
        async with connected(access) as http:
            await HttpTransport(http).create(Target(TOKEN), to_document(token))

    run(send())
    if kubeconfig_out is None:
        out.print(text)
    else:
        write_kubeconfig(kubeconfig_out, access, user, {"token": text})
    err.print(f"token {name} of {user} is valid until {rfc3339(ends)}")


@tokens.command("list")
def list_(data_dir: DataDirFlag = None, kubeconfig: KubeconfigFlag = None) -> None:
    """List the tokens that were made: whom they stand for, and how long."""

    async def fetch() -> list[Document]:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            return await list_all(HttpTransport(http), Target(TOKEN))

    print_objects(TOKEN, run(fetch()), "table", single=False)


@tokens.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="As `skerry token list` names it.")],
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Revoke a token: it is refused from the next request on."""

    async def send() -> None:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            await HttpTransport(http).delete(Target(TOKEN, name=token))

    run(send())
    out.print(f"token {token} revoked")


def end_of(expires: str) -> dt.datetime:
    """Return when something ends that begins now; raises ConfigurationError."""
    try:
        return SystemClock().now() + dt.timedelta(seconds=run_notes.seconds(expires, "--expires"))
    except OverflowError as error:
        raise ConfigurationError(f"--expires: {expires!r} is longer than calendars go") from error


def check_writable(path: Path | None) -> None:
    """Refuse a kubeconfig's place before anything is made that it would be lost with; raises ConfigurationError."""
    if path is not None and not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"--kubeconfig-out: {path.parent} is no folder that can be written to")


def write_kubeconfig(path: Path, access: Access, user: str, credential: dict[str, str]) -> None:
    """Write a kubeconfig for the same server and another user, readable by its owner alone."""
    text = kubeconfig_of(url=access.server, authority_pem=access.ca_pem.encode(), user=user, credential=credential)
    try:
        write_private(path, text)
    except OSError as error:
        raise SkerryError(f"--kubeconfig-out: {path} can't be written: {error.strerror}") from error
    out.print(f"wrote {path}")
