"""Where the log is kept: a SQLite file of this machine, or a PostgreSQL database that other replicas use as well.

Owns the choice, and that what a database holds and the keys in the data directory belong together.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson

from skerry.kit.clock import Clock
from skerry.kit.errors import StartError
from skerry.main.configuration import Settings
from skerry.main.data_dir import DataDir
from skerry.server.tls import open_authority
from skerry.store.driver import RewritableDriver
from skerry.store.errors import Conflict
from skerry.store.postgres.driver import open_postgres
from skerry.store.records import Key, Write
from skerry.store.sealing.keys import KeyProvider, KeyUnavailable, LocalKeys
from skerry.store.sqlite import SqliteSettings, open_sqlite

#: Names the certificate authority that a database belongs to. It is no object of the API: no kind has this name.
_AUTHORITY = Key("installation", "", "authority")


def is_shared(settings: Settings) -> bool:
    """Tell whether other processes may use the database of the settings, now or later."""
    return settings.database.startswith("postgres")


@dataclass(frozen=True, slots=True)
class Storage:
    """An open database.

    Attributes:
        driver: keeps the log.
        keys: what its confidential values are sealed with.
        is_shared: whether other processes may use it, now or later.
    """

    driver: RewritableDriver
    keys: KeyProvider
    is_shared: bool


@asynccontextmanager
async def open_storage(settings: Settings, data_dir: DataDir, clock: Clock) -> AsyncIterator[Storage]:
    """Open the database of the settings for the length of the block.

    Raises:
        StartError: it can't be used, or the data directory has the keys of another one.
    """
    url = settings.database
    if is_shared(settings):
        async with open_postgres(url) as postgres:
            await _require_own_keys(postgres, data_dir, clock)
            yield Storage(postgres, CopiedKeys(data_dir.encryption_keys, clock), is_shared=True)
        return
    path = Path(unquote(urlsplit(url).path)) if url else data_dir.database
    # The lock on the data directory covers what is in it.
    async with open_sqlite(path, SqliteSettings(sole_writer=path == data_dir.database)) as sqlite:
        yield Storage(sqlite, LocalKeys(data_dir.encryption_keys, clock), is_shared=False)


class CopiedKeys(LocalKeys):
    """Keys that every replica has a copy of, so none of them may change them alone."""

    async def add(self) -> str:
        """Make the first key; raises KeyUnavailable for another one."""
        if self.known_keys():
            raise KeyUnavailable(
                "replicas have copies of the keys: rotate them with `skerry pki add-key`, then `use-key`"
            )
        return await super().add()

    async def remove(self, key_ids: Sequence[str]) -> None:
        """Forget no key: another replica may still seal with it."""


async def _require_own_keys(driver: RewritableDriver, data_dir: DataDir, clock: Clock) -> None:
    """Insist that `pki/` is that of the replica which made the database; make both where neither is there."""
    mine = orjson.dumps({"certificate": open_authority(data_dir.pki, clock).pem.decode()})
    try:
        await driver.append(Write(_AUTHORITY, mine, 0))
    except Conflict as conflict:
        if conflict.current is None or conflict.current.value != mine:
            raise StartError(
                "the database belongs to replicas with other keys: copy pki/ and kubeconfig of the data directory of "
                f"one of them to {data_dir.root}"
            ) from conflict
