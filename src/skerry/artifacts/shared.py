"""A keep that replicas share: what one of them put, every other one has, also after the first one is gone.

Owns the way between the shared place (`Blobs`) and this machine's folder, which is a cache of it: filled when
an artifact is asked for, verified while it is filled, bounded. Does not own the place: it is handed in.

The invariant: what is kept is what the shared place has. An artifact that only this machine's folder has (it was put
before there was a shared place, or was lost there) is put there as soon as someone asks for it.
"""

from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Protocol

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, KeepUnavailableError
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.keep import GRACE_SECONDS
from skerry.kit.logs import get_logger
from skerry.kit.tasks import SharedCalls

log = get_logger(__name__)


class Blobs(Protocol):
    """Artifacts in a place that several processes reach. Every method may raise KeepUnavailableError."""

    async def put(self, digest: Digest, content: Path) -> None:
        """Store a file, durably, whole or not at all; what is there already gets a new grace age.

        Raises:
            KeepFullError: the place would outgrow its limit; nothing was written.
        """
        ...

    async def has(self, digest: Digest) -> bool:
        """Tell whether an artifact is there."""
        ...

    def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Yield an artifact's bytes in order, a few at a time; raises ArtifactMissingError."""
        ...

    async def discard(self, digest: Digest) -> None:
        """Forget an artifact that is damaged, so that the next put mends it."""
        ...

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float) -> int:
        """As `ArtifactKeep.remove_unreferenced`; where another process is at it, nothing is left to be done."""
        ...


class SharedKeep:
    """An `ArtifactKeep` over a shared place.

    Args:
        cache: this machine's folder, opened with `is_cache`.
        blobs: the shared place.
    """

    def __init__(self, cache: FolderKeep, blobs: Blobs) -> None:
        self._cache = cache
        self._blobs = blobs
        self._fills: SharedCalls[Digest, Path] = SharedCalls("artifact-fill")

    def scratch(self) -> BinaryIO:
        """Open a file without a name; see `ArtifactKeep`."""
        return self._cache.scratch()

    async def put(self, content: bytes) -> Digest:
        """Keep some bytes; see `ArtifactKeep`."""
        digest = await self._cache.put(content)
        await self._blobs.put(digest, self._cache.path(digest))
        return digest

    async def has(self, digest: Digest) -> bool:
        """Tell whether an artifact is kept; see `ArtifactKeep`.

        While the shared place can't be reached, what is on this machine is: it was kept, and goes on serving.
        """
        try:
            return await self._blobs.has(digest) or await self._share(digest)
        except KeepUnavailableError:
            if await self._cache.has(digest):
                return True
            raise

    async def _share(self, digest: Digest) -> bool:
        """Put an artifact into the shared place that this machine alone has; returns whether it has it."""
        try:
            path = await self._cache.verify(digest)
        except (ArtifactMissingError, ArtifactCorruptError):
            return False
        await self._blobs.put(digest, path)
        log.info("shared an artifact that was on this machine alone", digest=str(digest))
        return True

    async def read(self, digest: Digest) -> bytes:
        """Return an artifact's bytes; see `ArtifactKeep`."""
        await self.verify(digest)
        return await self._cache.read(digest)

    async def verify(self, digest: Digest) -> Path:
        """Bring an artifact to this machine where it is not, and return its path; see `ArtifactKeep`."""
        if not await self.has(digest):
            raise ArtifactMissingError(f"no artifact {digest} is kept")
        try:
            return await self._cache.verify(digest)
        except (ArtifactMissingError, ArtifactCorruptError):
            return await self._fills.run(digest, lambda: self._fill(digest))

    async def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Yield an artifact's bytes; see `ArtifactKeep`."""
        await self.verify(digest)
        async for piece in self._cache.pieces(digest):
            yield piece

    async def _fill(self, digest: Digest) -> Path:
        try:
            async with aclosing(self._blobs.pieces(digest)) as pieces:
                return await self._cache.take(digest, pieces)
        except ArtifactCorruptError:
            log.error("a shared artifact is damaged, and is given up", digest=str(digest))  # noqa: TRY400 - it is raised
            await self._blobs.discard(digest)
            raise

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove what nothing names, from the shared place; see `ArtifactKeep`. Caches forget by themselves."""
        return await self._blobs.remove_unreferenced(keep, grace_seconds=grace_seconds)

    def statistics(self) -> dict[str, int]:
        """Return what is in this machine's folder; see `ArtifactKeep`."""
        return self._cache.statistics()
