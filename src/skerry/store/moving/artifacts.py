"""What moving asks of the place where artifacts are kept; the store knows their digests and nothing else of them."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from skerry.store.moving.errors import MovingError
from skerry.store.postgres.blobs import CHUNK_BYTES


class ArtifactPlace(Protocol):
    """Artifacts by digest (`sha256:...`)."""

    async def digests(self) -> Sequence[str]:
        """Return what is kept here, in order."""
        ...

    def read(self, digest: str) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes, `PIECE_BYTES` at once but for the last ones.

        Raises:
            ArtifactGoneError: it is not kept any more.
            MovingError: behind the last bytes: they are not those of the digest.
        """
        ...

    async def write(self, digest: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep an artifact, durably, once its bytes were checked; one that is kept already is fine."""
        ...


#: Bytes of an artifact that are moved at once: those that a database keeps in one row.
PIECE_BYTES = CHUNK_BYTES


def require_same(digest: str, hexadecimal: str) -> None:
    """Insist that bytes with a sha256 are those of a digest; raises MovingError."""
    if digest != f"sha256:{hexadecimal}":
        raise MovingError(f"artifact {digest} is damaged: apply its source again to mend it, or leave artifacts out")
