"""What becomes of the frames of a command, whenever its reader takes them."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from typing import Any, cast

import orjson
import pytest

from skerry.fleet.frames import Frame
from skerry.server.baetyl.commands import BUFFER_BYTES_MAX, Command, Commands
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.links import Link, Links
from skerry.server.conversations import Peer


class LinkedNode:
    """The links of a replica that has one node's; it answers each command with the frames that it was given."""

    def __init__(self, *printed: bytes) -> None:
        self._printed = printed
        self._link = Link(("default", "sn001"), "", cast("Any", None), Peer(cast("Any", None), self._sent, nullcontext))

    def find(self, _: object) -> Link:
        return self._link

    async def _sent(self, message: Mapping[str, Any]) -> None:
        frame = orjson.loads(message.get("text") or message["bytes"])
        if frame["meta"]["cmd"] != "disconnect":
            for part in self._printed:
                data = base64.b64encode(part).decode()
                self._link.listeners[frame["meta"]["token"]].take(Frame("data", {"success": "true"}, data))


async def taken(parts: AsyncIterator[bytes], into: list[bytes]) -> None:
    async for part in parts:
        into.append(part)  # noqa: PERF401 - what came before an error counts


async def test_nothing_follows_what_a_reader_that_was_too_slow_has_lost() -> None:
    node = LinkedNode(b"first", b"x" * BUFFER_BYTES_MAX, b"small enough to have room")
    found: list[bytes] = []
    async with Commands(cast("Links", node)).run(("default", "sn001"), Command("logs", {})) as parts:
        with pytest.raises(BaetylError, match="its reader was too slow"):
            await taken(parts, found)
    assert found == [b"first"]
