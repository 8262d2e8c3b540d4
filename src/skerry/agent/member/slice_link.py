"""Keeps the replica of a node's slice as its control plane has it, and tells that what becomes of it here.

Owns the conversation. Does not own the replica (`slice_log`) nor the link. Invariant: a slice is taken whole, and after
the code that it names: so what serves goes on until all is here that follows it. Only code that the control plane
itself refuses to give is not waited for: it would keep its neighbours from changing.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from skerry.agent.functions import ArtifactSource
from skerry.agent.member.errors import LinkError, RefusedError
from skerry.agent.member.link import CloudLink
from skerry.agent.member.slice_log import Held, SliceLog
from skerry.api.model import Document
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger

log = get_logger(__name__)

SLICE_PATH, STATUSES_PATH = "/v1/slice", "/v1/slice/statuses"
#: The control plane says something every 20 s.
SILENCE_SECONDS_MAX = 60.0
#: Statuses that change together are told together.
TOGETHER_SECONDS = 0.25
#: Of one change, or of a whole slice at first.
SLICE_BYTES_MAX = 128 * 1024 * 1024


class SliceLink:
    """Follows the slice.

    Args:
        link: to the control plane.
        log: the replica.
        artifacts: bring code.
    """

    def __init__(self, link: CloudLink, log: SliceLog, artifacts: ArtifactSource) -> None:
        self._link = link
        self._log = log
        self._artifacts = artifacts

    async def follow(self) -> None:
        """Take every change of the slice, until the control plane ends the answer: then it is to be asked again.

        Raises:
            LinkError: it can't be reached, refuses, or says what is no slice.
            OSError: the replica can't be written.
        """
        body = {"objects": self._log.known()}
        async with self._link.opened("POST", SLICE_PATH, body, silence_seconds_max=SILENCE_SECONDS_MAX) as pieces:
            await self._take_all(pieces)

    async def _take_all(self, pieces: AsyncIterator[bytes]) -> None:
        changed: dict[str, Held] = {}
        gone: set[str] = set()
        async for line in _lines(pieces):
            match _read(line):
                case {"type": "MODIFIED", "key": str(key), "version": str(version), "object": dict(document)}:
                    changed[key] = Held(version, document)
                    gone.discard(key)
                case {"type": "DELETED", "key": str(key)}:
                    changed.pop(key, None)
                    gone.add(key)
                case {"type": "BOOKMARK"}:
                    if changed or gone:
                        await self._bring_code(changed)
                        await self._log.take(changed, gone)
                    changed, gone = {}, set()
                case _:
                    raise LinkError("the control plane tells of the slice what can't be read")

    async def _bring_code(self, changed: Mapping[str, Held]) -> None:
        """Have the code at hand that objects name; raises LinkError where the control plane has gone."""
        for key, held in changed.items():
            if digest := digest_of(held.document):
                try:
                    await self._artifacts.fetch(digest)
                except LinkError as error:
                    if not isinstance(error, RefusedError):
                        raise
                    log.warning("code is not given to this node", object=key, reason=error.public)
                except SkerryError as error:  # no room for it, or it is damaged: its own status tells
                    log.warning("code can't be kept here", object=key, reason=error.public)

    async def tell(self) -> None:
        """Tell what this node makes of its slice. Raises LinkError, OSError."""
        await asyncio.sleep(TOGETHER_SECONDS)
        body = {"statuses": self._log.statuses()}
        async with self._link.opened("POST", STATUSES_PATH, body, silence_seconds_max=SILENCE_SECONDS_MAX) as pieces:
            async for _ in pieces:
                pass
        await self._log.keep()


def digest_of(document: Document) -> str:
    """Return the digest of the code that an object brings; "" for none."""
    status = document.get("status") or {}
    code = status.get("artifact") or status.get("code") or {}
    return str(code.get("digest", ""))


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Split an answer into lines; raises LinkError for more than `SLICE_BYTES_MAX` without a bookmark's end."""
    rest, size = b"", 0
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        size += len(piece)
        for line in lines:
            if line.endswith(_BOOKMARK_END):
                size = 0
            yield line
        if size > SLICE_BYTES_MAX:
            raise LinkError(f"the slice has more than {SLICE_BYTES_MAX} bytes")


_BOOKMARK_END = b'"BOOKMARK"}'


def _read(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LinkError("the control plane tells of the slice what is no JSON") from error
