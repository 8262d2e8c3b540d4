"""The administrator's credential: made at first start, kept as a digest, handed over in a kubeconfig.

The token itself stands in the kubeconfig only. Where that file is gone or was made for another token, a new token
takes the old one's place, so losing the file loses nothing but a restart.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson
import yaml

from skerry.client.kubeconfig import kubeconfig
from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory, write_private
from skerry.server.auth import ADMINISTRATORS, StaticTokens, TokenRecord, User, digest_of

ADMINISTRATOR = User("admin", groups=(ADMINISTRATORS,))
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Administrator:
    """The administrator's token, and what the server checks tokens against."""

    token: str
    tokens: StaticTokens


def open_administrator(tokens_path: Path, kubeconfig_path: Path) -> Administrator:
    """Load the administrator's token, or make a new one.

    Args:
        tokens_path: a JSON list of `{"sha256", "user", "groups"}`, one for each static token.
        kubeconfig_path: where `write_kubeconfig` left the token.

    Raises:
        StartError: the list of tokens is damaged.
    """
    records = _read_records(tokens_path)
    token = _token_in(kubeconfig_path)
    known = any(r.sha256 == digest_of(token) and r.user.name == ADMINISTRATOR.name for r in records) if token else False
    if token is None or not known:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        others = [record for record in records if record.user.name != ADMINISTRATOR.name]
        records = [*others, TokenRecord(digest_of(token), ADMINISTRATOR)]
        make_private_directory(tokens_path.parent)
        write_private(tokens_path, _written(records))
    return Administrator(token, StaticTokens(records))


def _read_records(path: Path) -> list[TokenRecord]:
    try:
        listed = orjson.loads(path.read_bytes())
        return [
            TokenRecord(bytes.fromhex(entry["sha256"]), User(entry["user"], groups=tuple(entry["groups"])))
            for entry in listed
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"the list of tokens in {path} can't be read: restore it, or remove it to have a new administrator's token",
            detail=str(error),
        ) from error


def _written(records: list[TokenRecord]) -> bytes:
    listed = [{"sha256": r.sha256.hex(), "user": r.user.name, "groups": list(r.user.groups)} for r in records]
    return orjson.dumps(listed, option=orjson.OPT_INDENT_2)


def _token_in(path: Path) -> str | None:
    """Return the token in a kubeconfig of ours; None where there is none to be found."""
    try:
        document = yaml.safe_load(path.read_text())
        token = document["users"][0]["user"]["token"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, IndexError):
        return None
    return token if isinstance(token, str) else None


def write_kubeconfig(path: Path, *, url: str, authority_pem: bytes, token: str) -> None:
    """Write the administrator's kubeconfig, mode 0600, unless it says just that already."""
    text = kubeconfig(url=url, authority_pem=authority_pem, user=ADMINISTRATOR.name, credential={"token": token})
    if not path.exists() or path.read_bytes() != text:
        make_private_directory(path.parent)
        write_private(path, text)
