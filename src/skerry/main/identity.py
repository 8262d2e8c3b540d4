"""`skerry pki ...`: what makes a Skerry this one and no other, as files: authority, tokens, keys. No server is needed.

Replicas share them by having the same files. So a key that they encrypt with is rotated by files, too: a new one is
first added where all can read it, then used, and the older one is dropped once nothing needs it.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from skerry.kit.clock import SystemClock
from skerry.kit.errors import SkerryError
from skerry.main import data_dir as directories
from skerry.main.moving import installation
from skerry.server.credentials import open_administrator, write_kubeconfig
from skerry.server.service_accounts import open_signing_key
from skerry.server.tls import open_authority
from skerry.store.moving.changes import Tally
from skerry.store.sealing.keys import KeyUnavailable, LocalKeys


async def make_identity(root: Path, server: str) -> list[Path]:
    """Make whatever is not there yet, and return the files that replicas have to have in common.

    Args:
        root: a data directory, or a folder that is to be copied into some.
        server: URL of the API for the administrator's kubeconfig.

    Raises:
        StartError: a Skerry runs there, or what is there is damaged.
    """
    clock = SystemClock()
    with directories.opened(root) as data_dir:
        authority = open_authority(data_dir.pki, clock)
        open_signing_key(data_dir.service_account_key)
        administrator = open_administrator(data_dir.pki / "tokens.json", data_dir.kubeconfig)
        write_kubeconfig(data_dir.kubeconfig, url=server, authority_pem=authority.pem, token=administrator.token)
        keys = LocalKeys(data_dir.encryption_keys, clock)
        if not keys.known_keys():
            await keys.add()
        names = ("ca.crt", "ca.key", "sa.key", "tokens.json", "encryption-keys.json")
        return [*(data_dir.pki / name for name in names), data_dir.kubeconfig]


async def add_key(root: Path) -> str:
    """Add an encryption key that is read with, and not yet used; returns its id. Raises SkerryError, StartError."""
    with directories.opened(root) as data_dir:
        return await _told(LocalKeys(data_dir.encryption_keys, SystemClock()).add_unused())


async def use_key(root: Path) -> str:
    """Use the key that was added last from the next start on; returns its id. Raises SkerryError, StartError."""
    with directories.opened(root) as data_dir:
        return await _told(LocalKeys(data_dir.encryption_keys, SystemClock()).use_added())


@dataclass(frozen=True, slots=True)
class Dropped:
    """Which keys are gone, and which older ones stay, as values are encrypted with them."""

    dropped: list[str]
    needed: list[str]


async def drop_keys(root: Path, database: str) -> Dropped:
    """Drop the older keys that no value in a database is encrypted with, history included.

    Raises:
        StartError: a Skerry runs there.
        MovingError: the database can't be read.
    """
    with directories.opened(root) as data_dir:
        tally = Tally()
        async with installation(database or f"sqlite://{data_dir.database}", None).database.snapshot() as snapshot:
            async for changes in snapshot.changes():
                tally.add(changes)
        keys = LocalKeys(data_dir.encryption_keys, SystemClock())
        older = [key.id for key in keys.known_keys()[:-1] if not key.unused]
        dropped = [key_id for key_id in older if key_id not in tally.key_ids]
        await keys.remove(dropped)
        return Dropped(dropped, [key_id for key_id in older if key_id in tally.key_ids])


async def _told(change: Awaitable[str]) -> str:
    try:
        return await change
    except KeyUnavailable as error:
        raise SkerryError(f"encryption-keys.json stays as it is: {error}") from error
