"""The catalogue of kinds is at the state of the log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, cast

import pytest

from skerry.api.catalogue import Catalogue
from skerry.api.errors import ServiceUnavailable
from skerry.api.registry import KINDS
from skerry.server.verbs import definitions
from skerry.server.verbs.definitions import RESOURCE, Definitions
from skerry.server.verbs.stored import encode
from skerry.store.log import RevisionLog, open_log
from skerry.store.memory import open_memory
from skerry.store.records import Key
from skerry.testing.definitions import definition, established

WIDGETS = ("example.com", "v1", "widgets")


@pytest.fixture
async def log() -> AsyncIterator[RevisionLog]:
    async with open_memory() as driver, open_log(driver) as opened:
        yield opened


async def put(log: RevisionLog, document: Any, revision: int = 0) -> int:
    return await log.put(Key(RESOURCE, "", document["metadata"]["name"]), encode(document), expected_revision=revision)


async def test_a_kind_that_is_in_the_log_is_found_by_whoever_asks_first(log: RevisionLog):
    catalogue, changed = Catalogue(KINDS), asyncio.Event()
    follower = Definitions(log, catalogue)
    async with follower.running(), asyncio.timeout(60):
        assert await follower.find(*WIDGETS) is None
        revision = await put(log, established(definition()))
        assert await follower.find(*WIDGETS)
        catalogue.on_change(changed.set)
        revision = await put(log, definition(), revision)
        await changed.wait()
        assert await follower.find(*WIDGETS) is None
        await put(log, established(definition()), revision)
        assert await follower.find(*WIDGETS)


async def test_what_was_there_before_is_served_from_the_start(log: RevisionLog):
    await put(log, established(definition()))
    catalogue = Catalogue(KINDS)
    async with Definitions(log, catalogue).running():
        assert catalogue.current.find(*WIDGETS)


async def test_a_definition_that_can_not_be_read_hurts_no_other(log: RevisionLog):
    broken = deepcopy(established(definition(plural="gadgets")))
    del broken["spec"]["versions"][0]["schema"]
    await put(log, broken)
    catalogue = Catalogue(KINDS)
    async with Definitions(log, catalogue).running():
        await put(log, established(definition()))
        follower = Definitions(log, catalogue)
        async with follower.running():
            assert await follower.find(*WIDGETS)
            assert await follower.find("example.com", "v1", "gadgets") is None


class Deaf:
    """A log whose watches tell nothing."""

    def __init__(self, log: RevisionLog) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    @asynccontextmanager
    async def watch(self, *_: Any, **__: Any) -> AsyncIterator[AsyncIterator[Any]]:
        async def nothing() -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield

        yield nothing()


async def test_a_catalogue_that_stays_behind_is_told_as_such(log: RevisionLog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(definitions, "CATCH_UP_SECONDS", 0.01)
    follower = Definitions(cast("RevisionLog", Deaf(log)), Catalogue(KINDS))
    async with follower.running():
        await put(log, established(definition()))
        with pytest.raises(ServiceUnavailable, match="definitions of kinds are behind the log"):
            await follower.find(*WIDGETS)
