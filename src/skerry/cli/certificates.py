"""`skerry certificate ...`: client certificates for other users, signed on the machine that holds our authority."""

import base64
import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.printing import err
from skerry.cli.session import DataDirFlag, access_of, data_dir_of
from skerry.cli.tokens import ExpiresFlag, GroupFlag, UserArgument, check_writable, end_of, write_kubeconfig
from skerry.kit.clock import SystemClock, rfc3339
from skerry.kit.errors import ConfigurationError

certificates = typer.Typer(help="Client certificates for other users.", no_args_is_help=True)


@certificates.callback()
def about() -> None:
    """Client certificates for other users."""


@certificates.command()
def create(
    user: UserArgument,
    kubeconfig_out: Annotated[Path, typer.Option("--kubeconfig-out", metavar="FILE", help="Where it is written.")],
    group: GroupFlag = None,
    expires: ExpiresFlag = "24h",
    data_dir: DataDirFlag = None,
) -> None:
    """Make a client certificate, signed with the authority in the data directory, and write a kubeconfig with it.

    It can't be revoked: give it a short life.
    """
    root = data_dir_of(data_dir)
    access = access_of(root / "kubeconfig", None)
    check_writable(kubeconfig_out)
    ends = end_of(expires)
    certificate, key = _issue(root / "pki", user, group or [], ends)
    credential = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    write_kubeconfig(kubeconfig_out, access, user, credential)
    err.print(f"the certificate of {user} is valid until {rfc3339(ends)}")


def _issue(pki: Path, user: str, groups: list[str], ends: dt.datetime) -> tuple[bytes, bytes]:
    # cryptography takes longer to import than most commands take to run.
    from skerry.server.client_certificates import issue_client_certificate
    from skerry.server.tls import open_authority

    if not (pki / "ca.key").is_file():
        raise ConfigurationError(f"there is no certificate authority in {pki}: run this where Skerry's data is")
    clock = SystemClock()
    try:
        return issue_client_certificate(open_authority(pki, clock), user, groups, (clock.now(), ends))
    except ValueError as error:
        raise ConfigurationError(f"USER or --group: does not fit into a certificate: {error}") from error
