"""What a value in the log has to be, and the artifacts that it names: what `store.moving` can't know of."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pydantic

from skerry.api.kinds import Kind
from skerry.api.model import from_document
from skerry.api.registry import KINDS
from skerry.controllers.artifacts import Referring, digests_named_by
from skerry.store.errors import Undecryptable
from skerry.store.moving.artifacts import ArtifactPlace, require_same
from skerry.store.moving.changes import Change, Progress
from skerry.store.moving.checking import Report
from skerry.store.moving.errors import MovingError
from skerry.store.sealing.envelope import Sealer, is_plain, key_id_of
from skerry.store.sealing.keys import KeyProvider

_KINDS: Mapping[str, Kind[Any]] = {kind.resource: kind for kind in KINDS}


class ValueExaminer:
    """Reads values as the server would.

    Args:
        keys: what sealed ones are opened with; None to leave them closed.

    Attributes:
        named: the artifacts that present objects need.
        closed: how many values were left closed.
    """

    def __init__(self, keys: KeyProvider | None) -> None:
        self.named: set[str] = set()
        self.closed = 0
        self._sealer = Sealer(keys) if keys else None

    async def examine(self, change: Change, is_present: bool) -> str:  # noqa: FBT001 - the form of `Examine`
        """Return what is wrong with a value; "" for nothing."""
        value = change.value or b""
        if not is_plain(value):
            if not key_id_of(value):
                return "it is neither JSON nor sealed"
            if self._sealer is None:
                self.closed += 1
                return ""
            try:
                value = await self._sealer.open(change.key, value)
            except Undecryptable as error:
                return error.public
        return self._decoded(change, value, is_present=is_present)

    def _decoded(self, change: Change, value: bytes, *, is_present: bool) -> str:
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            return f"it is no JSON: {error}"
        kind = _KINDS.get(change.key.resource)
        if kind is None:
            return ""
        try:
            obj = from_document(kind.model, document)
        except pydantic.ValidationError as error:
            # Neither its values nor its message, which may quote them: they may be secret.
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            return f"it is no {kind.model.__name__}: {'.'.join(map(str, first['loc']))}: {first['type']}"
        if (obj.metadata.namespace or "", obj.metadata.name) != (change.key.namespace, change.key.name):
            return f"it holds {obj.metadata.namespace or ''}/{obj.metadata.name}"
        if is_present and isinstance(obj, Referring):
            self.named.update(digests_named_by(obj))
        return ""


async def check_artifacts(place: ArtifactPlace, named: set[str], report: Report, progress: Progress) -> None:
    """Look for the artifacts that are named, and read through all that are kept."""
    kept = await place.digests()
    for digest in sorted(named.difference(kept)):
        report.fault("artifact", f"{digest} is named by an object, and not kept")
    for number, digest in enumerate(kept):
        await read_through(digest, place.read(digest), report)
        progress("artifacts", number + 1, len(kept))


async def read_through(digest: str, pieces: AsyncIterator[bytes], report: Report) -> None:
    """Take note of an artifact whose bytes are not those of its digest."""
    sha256 = hashlib.sha256()
    try:
        async for piece in pieces:
            sha256.update(piece)
        require_same(digest, sha256.hexdigest())
    except MovingError as error:
        report.fault("artifact", error.public)
