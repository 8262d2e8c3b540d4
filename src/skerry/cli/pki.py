"""`skerry pki ...`: the files that replicas have to have in common. No server is needed."""

import os
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.printing import err, out
from skerry.cli.session import DataDirFlag, data_dir_of, run
from skerry.kit.errors import SkerryError

pki = typer.Typer(help="The keys and certificates that replicas share, as files.", no_args_is_help=True)


@pki.command()
def init(
    server: Annotated[
        str, typer.Option(metavar="URL", help="Of the API, for the administrator's kubeconfig.")
    ] = "https://127.0.0.1:6443",
    data_dir: DataDirFlag = None,
) -> None:
    """Make the authority, the keys and the administrator's kubeconfig, and print the files.

    Copy all of them into the data directory of each replica before its first start. What is there already stays.
    """
    from skerry.main.identity import make_identity  # cryptography takes longer to import than most commands take to run

    for path in run(make_identity(data_dir_of(data_dir), server)):
        out.print(str(path))


@pki.command()
def add_key(data_dir: DataDirFlag = None) -> None:
    """Add an encryption key that is read with, and not used yet: the first of three steps.

    Copy pki/encryption-keys.json to every replica and restart one after the other, before `skerry pki use-key`.
    """
    from skerry.main.identity import add_key as add

    out.print(f"added key {run(add(data_dir_of(data_dir)))}")


@pki.command()
def use_key(data_dir: DataDirFlag = None) -> None:
    """Encrypt with the key that was added, from the next start on: the second step.

    Copy pki/encryption-keys.json to every replica and restart one after the other. Each encrypts everything anew.
    """
    from skerry.main.identity import use_key as use

    out.print(f"will use key {run(use(data_dir_of(data_dir)))}")


@pki.command()
def drop_keys(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, TOML.")] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="As for `skerry serve`. Default: that of the settings."),
    ] = None,
    data_dir: DataDirFlag = None,
) -> None:
    """Drop the older keys that nothing in the database is encrypted with any more: the third step.

    Exit code 1: one is still needed. Copy pki/encryption-keys.json to every replica; they need no restart for it.
    """
    from skerry.main.configuration import load_settings
    from skerry.main.identity import drop_keys as drop

    flags = {"data_dir": data_dir, "database": database}
    settings = load_settings(flags, os.environ, file=config)
    outcome = run(drop(settings.data_dir, settings.database))
    for key_id in outcome.dropped:
        out.print(f"dropped key {key_id}")
    if outcome.needed:
        raise SkerryError(
            f"still needed: {', '.join(outcome.needed)}; `skerry secrets status` tells by how many objects"
        )
    if not outcome.dropped:
        err.print("there is no older key")
