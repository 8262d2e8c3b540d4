"""The few lines between rooms that say something of their own."""

import asyncio
from typing import Any, cast

import pytest

from skerry.main import adapters
from skerry.main.adapters import DatabaseReadiness


class SilentLog:
    async def revision(self) -> int:
        await asyncio.Event().wait()
        return 0


async def test_a_database_that_says_nothing_is_told_with_how_long_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "READY_SECONDS_MAX", 0.0)
    told = await DatabaseReadiness(cast("Any", SilentLog())).ready()
    assert told == "the database does not answer within 0 s"
