"""A bucket of artifacts as `store.moving` asks for it, also while control planes use it.

Owns the way there: what arrives is verified in this machine's cache before it is put, so a bucket never gets what is
damaged. What it has already is not sent again, so a move that was cut off goes on where it stopped.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    KeepFullError,
    KeepUnavailableError,
)
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.s3_settings import S3Settings
from skerry.kit.ids import RandomIds
from skerry.store.moving.artifacts import PIECE_BYTES, require_same
from skerry.store.moving.errors import ArtifactGoneError, MovingError


class BucketArtifacts:
    """An `ArtifactPlace` in a bucket.

    Args:
        settings: of the bucket.
        cache: open, to write; None to read only.
    """

    def __init__(self, settings: S3Settings, cache: FolderKeep | None = None) -> None:
        from skerry.artifacts.s3 import S3Blobs  # here: it loads a library that few need

        self._blobs = S3Blobs(settings, RandomIds())
        self._cache = cache

    async def digests(self) -> Sequence[str]:
        """Return what is kept here, in order."""
        with _told():
            return sorted(map(str, await self._blobs.digests()))

    async def read(self, digest: str) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes, `PIECE_BYTES` at once; see `ArtifactPlace`."""
        sha256, held = hashlib.sha256(), bytearray()
        with _told():
            async for part in self._blobs.pieces(Digest.parse(digest)):
                sha256.update(part)
                held += part
                while len(held) >= PIECE_BYTES:
                    yield bytes(held[:PIECE_BYTES])
                    del held[:PIECE_BYTES]
        if held:
            yield bytes(held)
        require_same(digest, sha256.hexdigest())

    async def write(self, digest: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep an artifact; see `ArtifactPlace`."""
        if self._cache is None:
            raise RuntimeError("the bucket was opened to be read")
        parsed = Digest.parse(digest)
        with _told():
            if not await self._blobs.has(parsed):
                await self._blobs.put(parsed, await self._cache.take(parsed, pieces))


@contextmanager
def _told() -> Iterator[None]:
    """Tell what goes wrong with artifacts as what it is to a move."""
    try:
        yield
    except ArtifactMissingError as error:
        raise ArtifactGoneError(error.public) from error
    except (ArtifactCorruptError, KeepFullError, KeepUnavailableError) as error:
        raise MovingError(error.public, detail=error.detail) from error
