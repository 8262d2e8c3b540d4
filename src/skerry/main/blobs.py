"""Where replicas share artifacts: the database's tables, as `artifacts` sees such a place.

Decides nothing: one table maps the store's errors to those of artifacts.
"""

from collections.abc import AsyncGenerator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactMissingError, KeepFullError, KeepUnavailableError
from skerry.store.errors import BlobsFull, StoreError
from skerry.store.postgres.blobs import PostgresBlobs


class DatabaseBlobs:
    """`artifacts.shared.Blobs`, in a PostgreSQL database."""

    def __init__(self, blobs: PostgresBlobs) -> None:
        self._blobs = blobs

    async def put(self, digest: Digest, content: Path) -> None:
        """Store a file; see `Blobs`."""
        with _mapped(digest):
            await self._blobs.put(str(digest), content)

    async def has(self, digest: Digest) -> bool:
        """Tell whether an artifact is there; see `Blobs`."""
        with _mapped(digest):
            return await self._blobs.has(str(digest))

    async def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Yield an artifact's bytes; see `Blobs`."""
        with _mapped(digest):
            async for chunk in self._blobs.chunks(str(digest)):
                yield chunk

    async def discard(self, digest: Digest) -> None:
        """Forget an artifact; see `Blobs`."""
        with _mapped(digest):
            await self._blobs.remove(str(digest))

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float) -> int:
        """Remove what nothing names; see `Blobs`."""
        with _mapped(None):
            return await self._blobs.remove_all_but([str(digest) for digest in keep], grace_seconds=grace_seconds)


@contextmanager
def _mapped(digest: Digest | None) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise ArtifactMissingError(f"no artifact {digest} is kept") from error
    except BlobsFull as error:
        raise KeepFullError(error.public) from error
    except StoreError as error:
        raise KeepUnavailableError(f"artifacts can't be reached: {error.public}", detail=error.detail) from error
