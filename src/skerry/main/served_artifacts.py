"""Artifacts as the front doors see them: kept from a request, and given out by digest. Decides nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

from skerry.api.errors import InsufficientStorage, NotFound, ServiceUnavailable
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    BadDigestError,
    KeepFullError,
    KeepUnavailableError,
)
from skerry.artifacts.keep import ArtifactKeep


class ServedArtifacts:
    """`server.dispatch.door.Sources` and `server.artifacts.Artifacts`, in the keep."""

    def __init__(self, keep: ArtifactKeep) -> None:
        self._keep = keep

    async def keep(self, content: bytes) -> str:
        """Store an archive; return its digest."""
        with _as_answers():
            return str(await self._keep.put(content))

    @asynccontextmanager
    async def opened(self, digest: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an artifact by its digest, verified."""
        with _as_answers():
            pieces = self._keep.pieces(Digest.parse(digest))
            first = await anext(pieces, b"")
        async with aclosing(pieces):
            yield _chained(first, pieces)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


@contextmanager
def _as_answers() -> Iterator[None]:
    """Raise what goes wrong with artifacts as the answers that it is."""
    try:
        yield
    except (ArtifactMissingError, BadDigestError) as error:
        raise NotFound(error.public) from error
    except KeepFullError as error:
        raise InsufficientStorage(error.public) from error
    except (KeepUnavailableError, ArtifactCorruptError) as error:
        raise ServiceUnavailable(error.public, detail=error.detail) from error
