"""Where artifacts are kept: in the data directory, or where every replica finds them, with that directory before it.

Owns the choice: a bucket where one is set, else the database where replicas share one.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import KeepUnavailableError
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.keep import ArtifactKeep
from skerry.artifacts.s3_settings import S3Settings
from skerry.artifacts.shared import Blobs, SharedKeep
from skerry.engine.errors import LoadError, UnknownRevisionError
from skerry.engine.manifest import list_manifests, read_manifest
from skerry.kit.clock import Clock
from skerry.kit.errors import StartError
from skerry.kit.ids import Ids
from skerry.main.blobs import DatabaseBlobs
from skerry.main.configuration import Settings, artifact_settings
from skerry.main.data_dir import DataDir
from skerry.main.storage import is_shared
from skerry.store.postgres.blobs import BlobSettings, open_blobs


@asynccontextmanager
async def open_keep(settings: Settings, data_dir: DataDir, clock: Clock, ids: Ids) -> AsyncIterator[ArtifactKeep]:
    """Open the keep of the settings for the length of the block, with the database's schema in place.

    Raises:
        StartError: the bucket can't be reached, or lets nobody in.
    """
    bytes_max = settings.artifacts_bytes_max
    async with AsyncExitStack() as stack:
        blobs: Blobs | None = None
        if bucket := artifact_settings(settings).bucket:
            blobs = await _opened_bucket(bucket, ids)
        elif is_shared(settings):
            tables = open_blobs(settings.database, BlobSettings(bytes_max=bytes_max))
            blobs = DatabaseBlobs(await stack.enter_async_context(tables))
        folder = FolderKeep(
            data_dir.artifacts,
            bytes_max=bytes_max,
            clock=clock,
            is_cache=blobs is not None,
            in_use=partial(code_in_use, data_dir.functions),
        )
        await stack.enter_async_context(folder)
        yield folder if blobs is None else SharedKeep(folder, blobs)


def code_in_use(functions_dir: Path) -> set[Path]:
    """Return the files that engine workers of this machine load when they start again."""
    found = set()
    for revision in list_manifests(functions_dir):
        with suppress(UnknownRevisionError, LoadError):  # it has just gone, or is of no use to a worker either
            found.add(read_manifest(functions_dir, revision).artifact)
    return found


async def _opened_bucket(bucket: S3Settings, ids: Ids) -> Blobs:
    from skerry.artifacts.s3 import S3Blobs  # here: it loads a library that few need

    blobs = S3Blobs(bucket, ids)
    try:
        await blobs.has(Digest.of(b""))
    except KeepUnavailableError as error:
        raise StartError(f"artifacts: {error.public}", detail=error.detail) from error
    return blobs
