"""Artifacts that replicas keep in their database (`store.postgres.blobs`), as moving reads and writes them.

Read within the transaction of the snapshot that they belong to, written each in one of its own.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence

from skerry.store.moving import postgres_statements as statements
from skerry.store.moving.artifacts import require_same
from skerry.store.moving.postgres_failures import failures_told
from skerry.store.postgres import queries
from skerry.store.postgres.session import Connection


class PostgresArtifacts:
    """An `ArtifactPlace` on a server.

    Args:
        connection: in a transaction to be read from, in none to be written to.
        name: of the database, for messages.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def digests(self) -> Sequence[str]:
        """Return what is kept here, in order; nothing by a version that kept none."""
        with failures_told(self._name):
            if await self._connection.raw.fetchval("SELECT to_regclass('blobs')") is None:
                return ()
            return [digest for (digest,) in await self._connection.rows(statements.ARTIFACTS)]

    async def read(self, digest: str) -> AsyncIterator[bytes]:
        """Yield an artifact's bytes, a chunk at once; see `ArtifactPlace`."""
        sha256, place = hashlib.sha256(), 0
        while (chunk := await self._chunk(digest, place)) is not None:
            sha256.update(chunk)
            yield chunk
            place += 1
        require_same(digest, sha256.hexdigest())

    async def _chunk(self, digest: str, place: int) -> bytes | None:
        with failures_told(self._name):
            row = await self._connection.row(queries.READ_CHUNK, digest, place)
        return None if row is None else row[0]

    async def write(self, digest: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep an artifact, whole or not at all; see `ArtifactPlace`."""
        sha256, place, size_bytes = hashlib.sha256(), 0, 0
        transaction = self._connection.raw.transaction()
        with failures_told(self._name):
            await transaction.start()
            await self._connection.rows(queries.REMOVE_BLOB, digest)  # it may be damaged
            await self._connection.row(queries.PUT_BLOB, digest, 0)
        try:
            async for piece in pieces:
                sha256.update(piece)
                size_bytes += len(piece)
                with failures_told(self._name):
                    await self._connection.rows(queries.PUT_CHUNK, digest, place, piece)
                place += bool(piece)
            require_same(digest, sha256.hexdigest())
            with failures_told(self._name):
                await self._connection.rows(statements.SET_ARTIFACT_SIZE, digest, size_bytes)
        except BaseException:
            with failures_told(self._name):
                await transaction.rollback()
            raise
        with failures_told(self._name):
            await transaction.commit()
