"""`skerry secrets ...`: the keys that secrets are encrypted with at rest."""

import asyncio
from typing import Annotated, Any

import typer
from rich.table import Table

from skerry.cli.connection import connected
from skerry.cli.printing import err, out
from skerry.cli.session import DataDirFlag, KubeconfigFlag, access_of, data_dir_of, run
from skerry.client.http import HttpTransport
from skerry.kit.errors import SkerryError

STATUS_PATH = "/encryption"
ROTATE_PATH = "/encryption/rotate"
POLL_SECONDS = 0.3

secrets = typer.Typer(help="Encryption of secrets at rest.", no_args_is_help=True)


@secrets.command()
def status(data_dir: DataDirFlag = None, kubeconfig: KubeconfigFlag = None) -> None:
    """Print the keys, and how many objects each encrypts.

    Exit code 1: something can't be decrypted.
    """

    async def fetch() -> dict[str, Any]:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            return await HttpTransport(http).call("GET", STATUS_PATH)

    found = run(fetch())
    table = Table("KEY", "CREATED", "STATE", "OBJECTS", "VALUES", box=None, pad_edge=False)
    for key in found["keys"]:
        table.add_row(key["id"], key["created"] or "", key["state"], str(key["objects"]), str(key["values"]))
    if found["plain"]["values"]:
        table.add_row("(plain text)", "", "", str(found["plain"]["objects"]), str(found["plain"]["values"]))
    out.print(table)
    _refuse_undecryptable(found)


@secrets.command()
def rotate(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all is re-encrypted.")] = True,
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Make a new key, re-encrypt everything under it, and remove the older keys.

    Skerry goes on by itself, also after a restart; ending this command does not stop it.
    """

    async def send() -> None:
        async with connected(access_of(kubeconfig, data_dir)) as http:
            transport = HttpTransport(http)
            made = await transport.call("POST", ROTATE_PATH)
            out.print(f"made key {made['key']}")
            if wait:
                await _follow(transport)

    run(send())


async def _follow(transport: HttpTransport) -> None:
    """Print how far a rotation is until it ends; raises SkerryError where it can't."""
    told = ""
    while True:
        found = await transport.call("GET", STATUS_PATH)
        older = sum(key["values"] for key in found["keys"] if key["state"] != "newest") + found["plain"]["values"]
        if older <= found["undecryptable"]["values"]:
            _refuse_undecryptable(found)
        if all(key["state"] == "newest" for key in found["keys"]):
            out.print(f"re-encrypted: {found['keys'][-1]['objects']} objects")
            return
        if older and told != (told := f"{older} values are left"):
            err.print(told)
        await asyncio.sleep(POLL_SECONDS)


def _refuse_undecryptable(found: dict[str, Any]) -> None:
    lost = found["undecryptable"]
    if lost["values"]:
        raise SkerryError(
            f"{lost['values']} values can't be decrypted: restore their keys, or stop Skerry and run "
            "`skerry secrets discard`",
            detail="\n".join(lost["messages"]),
        )


@secrets.command()
def discard(
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Delete the objects that can't be decrypted any more; Skerry must be stopped.

    For a data directory whose keys are lost for good: Skerry does not start on it otherwise.
    """
    from skerry.main.discard import discard as discard_objects  # the rest of this module needs no store

    if not yes:
        raise SkerryError("this deletes every object that can't be decrypted: restore the keys, or give --yes")
    names = run(discard_objects(data_dir_of(data_dir)))
    for name in names:
        out.print(f"deleted {name}")
    out.print(f"{len(names)} objects deleted")
