"""Keeps the catalogue of kinds at the state of the log: every definition that is there makes its kinds.

Owns the way from the log to `api.catalogue`. Does not own what a definition makes (`api.custom_kinds`), or when it may
(`controllers.definitions` writes that into its status). Every replica follows the log by itself.

Invariant: a kind that was found missing is looked for in the log before anybody is told so; so a definition that was
acknowledged as established is served from then on, by every replica.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from prometheus_client import Gauge

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.catalogue import Catalogue
from skerry.api.custom_kinds import kinds_of
from skerry.api.errors import ServiceUnavailable
from skerry.api.kinds import Kind
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running
from skerry.store import errors as store
from skerry.store.log import RevisionLog
from skerry.store.records import Event, Key, Progress

log = get_logger(__name__)

RESOURCE = CUSTOM_RESOURCE_DEFINITION.resource
CUSTOM_KINDS = Gauge("skerry_custom_kinds", "Kinds that are served because of definitions.")

#: How long a request waits for a definition that is in the log and not in the catalogue yet.
CATCH_UP_SECONDS = 5.0
#: How soon the log is followed again after it had ended.
_AGAIN_SECONDS = 1.0


class Definitions:
    """The definitions in the log, as kinds.

    Args:
        log: the log.
        catalogue: is kept at its state.
    """

    def __init__(self, log: RevisionLog, catalogue: Catalogue) -> None:
        self._log = log
        self._catalogue = catalogue
        self._seen = 0
        self._progress = asyncio.Condition()
        self._running = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the log for the length of the block; the catalogue is complete when it begins."""
        await self._load()
        self._running = True
        try:
            async with background(("definitions", self._keep_following)):
                yield
        finally:
            self._running = False

    async def find(self, group: str, version: str, plural: str) -> Kind[Any] | None:
        """Return the kind that a path names, or None; what the catalogue does not have is looked for in the log."""
        kind = self._catalogue.current.find(group, version, plural)
        if kind is None and group and self._running:
            entry = await self._log.get(Key(RESOURCE, "", f"{plural}.{group}"))
            if entry is not None:
                await self._reach(entry.revision)
                kind = self._catalogue.current.find(group, version, plural)
        return kind

    async def _reach(self, revision: int) -> None:
        try:
            with within(CATCH_UP_SECONDS):
                async with self._progress:
                    await self._progress.wait_for(lambda: self._seen >= revision)
        except TimeoutError as error:
            raise ServiceUnavailable("definitions of kinds are behind the log: try again") from error

    async def _keep_following(self) -> None:
        await keep_running("definitions", self._follow, wakeup=Wakeup(), resync_seconds=_AGAIN_SECONDS)

    async def _follow(self) -> None:
        """Follow the log until it ends, or until the history since the last turn is gone: then load anew."""
        try:
            async with self._log.watch(RESOURCE, after_revision=self._seen) as changes:
                async for change in changes:
                    if isinstance(change, Progress):
                        await self._tell(change.revision)
                        continue
                    for event in change:
                        self._take(event)
                    await self._tell(change[-1].revision)
        except store.Compacted:
            await self._load()

    def _take(self, event: Event) -> None:
        self._catalogue.put(event.key.name, _kinds(event.key, event.value) if event.value is not None else ())

    async def _load(self) -> None:
        page = await self._log.list(RESOURCE, limit=None)
        self._catalogue.replace({e.key.name: kinds for e in page.entries if (kinds := _kinds(e.key, e.value))})
        await self._tell(page.revision)

    async def _tell(self, revision: int) -> None:
        CUSTOM_KINDS.set(len(self._catalogue.current.all) - len(self._catalogue.built_in))
        async with self._progress:
            self._seen = max(self._seen, revision)
            self._progress.notify_all()


def _kinds(key: Key, value: bytes) -> tuple[Kind[Any], ...]:
    """Return the kinds of a stored definition; one that can't be read makes none, and hurts no other."""
    try:
        return kinds_of(orjson.loads(value))
    except (KeyError, TypeError, ValueError):
        log.exception("definition can't be read, its kinds are not served", definition=key.name)
        return ()
