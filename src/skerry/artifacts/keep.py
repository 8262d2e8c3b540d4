"""The keep: artifacts, each named by the sha256 of its bytes. What its users see of it, wherever it lies.

`folder.FolderKeep` keeps them in a folder of this machine, `shared.SharedKeep` where every replica finds them, with a
folder before it. `tests/contract/artifacts/test_keeps.py` is the suite that all of them pass.

Owns the promise alone. The invariant: an artifact is there whole or not at all, and what is read of it was verified.
"""

from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import BinaryIO, Protocol

from skerry.artifacts.digest import Digest

#: Size limit of a keep unless told otherwise: about 40,000 JavaScript functions, or 400 Wasm modules of 10 MB.
KEEP_BYTES_MAX = 4 * 1024**3

#: How long an artifact is safe from removal after its last put: longer than any time between
#: keeping an artifact and writing the reference to it, a restart included.
GRACE_SECONDS = 3600.0


class ArtifactKeep(Protocol):
    """A content-addressed store. Where it is on other machines, each method may raise KeepUnavailableError."""

    def scratch(self) -> BinaryIO:
        """Open a file without a name, on this machine's disk: for what may be too much for memory on its way here."""
        ...

    async def put(self, content: bytes) -> Digest:
        """Keep some bytes; when it returns they are durable, for all who share the keep.

        Putting what is kept already renews its grace age, and mends it if it was damaged.

        Raises:
            KeepFullError: the keep would outgrow its limit; nothing was written.
        """
        ...

    async def has(self, digest: Digest) -> bool:
        """Tell whether an artifact is kept, without looking at its content."""
        ...

    async def read(self, digest: Digest) -> bytes:
        """Return an artifact's bytes, verified.

        Raises:
            ArtifactMissingError: it is not kept.
            ArtifactCorruptError: its content is not what its name promises.
        """
        ...

    async def verify(self, digest: Digest) -> Path:
        """Check an artifact's content, in constant memory, and return a file of it; raises like `read`."""
        ...

    def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Yield an artifact's bytes, verified before the first of them, a few at a time; raises like `read`."""
        ...

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove every artifact that is not in `keep` and whose last put is `grace_seconds` ago.

        The grace age covers the time in which an artifact is kept but not yet written down as referenced.

        Returns:
            How many were removed.
        """
        ...

    def statistics(self) -> dict[str, int]:
        """Return how many artifacts are on this machine, their bytes, and the limit in bytes."""
        ...
