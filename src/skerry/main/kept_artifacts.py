"""A keep of artifacts as `store.moving` asks for it: read while a control plane uses it, written while none does."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, KeepFullError
from skerry.artifacts.folder import FolderKeep, kept_files
from skerry.kit.tasks import run_blocking
from skerry.store.moving.artifacts import PIECE_BYTES, require_same
from skerry.store.moving.errors import ArtifactGoneError, MovingError


class KeptArtifacts:
    """An `ArtifactPlace` over the folder of a keep.

    Args:
        directory: of the keep; it need not exist.
        keep: open on it, to write; None to read only.
    """

    def __init__(self, directory: Path, keep: FolderKeep | None = None) -> None:
        self._directory = directory
        self._keep = keep

    async def digests(self) -> Sequence[str]:
        """Return what is kept here, in order."""
        with ThreadPoolExecutor(1, "kept-artifacts") as executor:
            kept = await run_blocking(executor, partial(kept_files, self._directory))
        return sorted(str(digest) for digest, _ in kept)

    async def read(self, digest: str) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes, `PIECE_BYTES` at once; see `ArtifactPlace`."""
        path = FolderKeep(self._directory).path(Digest.parse(digest))
        sha256 = hashlib.sha256()
        with ThreadPoolExecutor(1, "kept-artifacts") as executor:
            try:
                file = await run_blocking(executor, lambda: path.open("rb"))
            except FileNotFoundError as error:
                raise ArtifactGoneError(f"artifact {digest} is not kept in {self._directory}") from error
            try:
                while piece := await run_blocking(executor, partial(file.read, PIECE_BYTES)):
                    sha256.update(piece)
                    yield piece
            except OSError as error:
                raise MovingError(f"artifact {digest} can't be read: {error.strerror}") from error
            finally:
                file.close()
        require_same(digest, sha256.hexdigest())

    async def write(self, digest: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep an artifact; see `ArtifactPlace`."""
        if self._keep is None:
            raise RuntimeError("the keep was opened to be read")
        try:
            await self._keep.take(Digest.parse(digest), pieces)
        except (ArtifactCorruptError, KeepFullError) as error:
            raise MovingError(error.public) from error
