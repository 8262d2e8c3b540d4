"""The door of a registry that npm is given, and who is not npm."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from skerry.artifacts.npm.door import RegistryDoor

if TYPE_CHECKING:
    from skerry.artifacts.npm.registry import RegistryClient


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"GET /\r\n\r\n", b"\r\n\r\n"])
async def test_who_speaks_no_http_gets_no_answer_and_is_no_defect(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = cast("RegistryClient", None)  # it is asked for what npm asks alone
    async with RegistryDoor(nobody).opened() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(door.proxy_url.rpartition(":")[2]))
        writer.write(said)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert not caplog.records
