"""Artifacts in a bucket of S3, or of whatever speaks its API.

    <prefix>/sha256/<64 digits>/<an upload's own id>
    <prefix>/clock                                    written by each removal, to be told the bucket's time

Owns the names and the removal. Signatures, retries, and uploads in parts are obstore's (Apache's object_store).

A bucket has no transactions, so nothing is ever replaced: each put is an object of its own, which appears whole or
not at all, and a removal deletes the very uploads that it saw to be old. An artifact that is put again meanwhile has
another upload, which stays; the older one goes with a later removal. Ages are told by the bucket's clock alone.
"""

import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactMissingError, BadDigestError, KeepFullError, KeepUnavailableError
from skerry.artifacts.s3_settings import S3Settings
from skerry.kit.ids import Ids

if TYPE_CHECKING:  # obstore has them for type checkers alone
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, S3Config

#: What is read at once; and sent at once, S3's least for a part of several.
PIECE_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
CONNECT_SECONDS_MAX = 5.0
#: Between two pieces of an answer.
SILENCE_SECONDS_MAX = 30.0
#: One request, its body included.
REQUEST_SECONDS_MAX = 300.0
RETRIES_MAX = 3
RETRY_SECONDS_MAX = 60.0
#: Uploads deleted by one request; S3's own limit.
DELETED_AT_ONCE = 1_000

_Uploads: TypeAlias = "dict[Digest, list[ObjectMeta]]"


class S3Blobs:
    """`shared.Blobs`, in a bucket."""

    def __init__(self, settings: S3Settings, ids: Ids) -> None:
        self._store = _open_store(settings)
        self._bytes_max = settings.bytes_max
        self._ids = ids

    async def put(self, digest: Digest, content: Path) -> None:
        """Store a file as an upload of its own; see `Blobs`."""
        with _mapped():
            await self._require_room(digest, _bytes_of(content))
            await obstore.put_async(
                self._store,
                f"{_folder(digest)}/{self._ids.uid()}",
                content,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    async def _require_room(self, digest: Digest, size_bytes: int) -> None:
        uploads = await self._uploads()
        held_bytes = sum(found[0]["size"] for found in uploads.values())
        if digest not in uploads and held_bytes + size_bytes > self._bytes_max:
            raise KeepFullError(
                f"{size_bytes} more bytes would exceed the limit of artifacts in the bucket, {self._bytes_max} bytes "
                f"({held_bytes} in use)"
            )

    async def has(self, digest: Digest) -> bool:
        """Tell whether an artifact is there; see `Blobs`."""
        with _mapped():
            return bool(await self._uploads_of(digest))

    async def digests(self) -> Sequence[Digest]:
        """Return what is there, in no order."""
        with _mapped():
            return tuple(await self._uploads())

    async def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the newest upload; see `Blobs`."""
        with _mapped():
            try:
                newest = (await self._uploads_of(digest))[-1]
                found = await obstore.get_async(self._store, newest["path"])
            except (IndexError, FileNotFoundError) as error:
                raise ArtifactMissingError(f"no artifact {digest} is kept") from error
            async for piece in found.stream(PIECE_BYTES):
                yield piece

    async def discard(self, digest: Digest) -> None:
        """Delete every upload of an artifact; see `Blobs`."""
        with _mapped():
            await self._delete([upload["path"] for upload in await self._uploads_of(digest)])

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float) -> int:
        """Remove what nothing names, and older uploads of what is named; see `Blobs`.

        Processes that remove at once do each other no harm.
        """
        with _mapped():
            await obstore.put_async(self._store, "clock", b"")
            now = (await obstore.head_async(self._store, "clock"))["last_modified"]
            newest = now - timedelta(seconds=grace_seconds)
            old: list[str] = []
            removed = 0
            for digest, uploads in (await self._uploads()).items():
                needless = uploads[:-1] if digest in keep else uploads
                paths = [upload["path"] for upload in needless if upload["last_modified"] <= newest]
                removed += len(paths) == len(uploads)
                old += paths
            await self._delete(old)
            return removed

    async def _delete(self, paths: Sequence[str]) -> None:
        for start in range(0, len(paths), DELETED_AT_ONCE):
            await obstore.delete_async(self._store, paths[start : start + DELETED_AT_ONCE])

    async def _uploads_of(self, digest: Digest) -> "list[ObjectMeta]":
        return (await self._uploads(_folder(digest))).get(digest, [])

    async def _uploads(self, prefix: str = "sha256") -> _Uploads:
        """Return the uploads of each artifact, the newest one last."""
        found: _Uploads = defaultdict(list)
        async for objects in obstore.list(self._store, prefix, chunk_size=DELETED_AT_ONCE):
            for one in objects:
                with contextlib.suppress(BadDigestError):  # of someone else
                    found[Digest(one["path"].split("/")[1])].append(one)
        for uploads in found.values():
            uploads.sort(key=lambda upload: upload["last_modified"])
        return found


def _bytes_of(path: Path) -> int:
    return path.stat().st_size


def _folder(digest: Digest) -> str:
    return f"sha256/{digest.hexadecimal}"


def _open_store(settings: S3Settings) -> S3Store:
    config: S3Config = {"bucket": settings.bucket, "region": settings.region}
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS_MAX),
        "read_timeout": timedelta(seconds=SILENCE_SECONDS_MAX),
        "timeout": timedelta(seconds=REQUEST_SECONDS_MAX),
    }
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
        client["allow_http"] = settings.endpoint.startswith("http://")
    if settings.credentials:
        config["access_key_id"], config["secret_access_key"] = settings.credentials
    if settings.ca_pem:
        client["root_certificate"] = settings.ca_pem
    return S3Store(
        prefix=settings.prefix or None,
        config=config,
        client_options=client,
        retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_SECONDS_MAX)},
    )


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise KeepUnavailableError(f"the bucket of artifacts cannot serve: {reason}", detail=str(error)) from error
