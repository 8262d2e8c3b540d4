"""`skerry secrets discard`: deletes what no present key decrypts, while Skerry is stopped."""

from pathlib import Path

from skerry.kit.clock import SystemClock
from skerry.main import data_dir as directories
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.sealed import discard_undecryptable
from skerry.store.sqlite import open_sqlite


async def discard(root: Path) -> list[str]:
    """Delete what can't be decrypted and return the names; raises StartError while a Skerry runs there."""
    with directories.opened(root) as data_dir:
        async with open_sqlite(data_dir.database) as driver:
            return await discard_undecryptable(driver, LocalKeys(data_dir.encryption_keys, SystemClock()))
