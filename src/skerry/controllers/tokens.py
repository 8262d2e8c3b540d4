"""Removes tokens that have expired. Does not own that they are refused: the server does that, to the second."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.authentication_v1alpha1 import Token
from skerry.api.errors import Conflict
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.kit.clock import Clock, from_rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running

log = get_logger(__name__)

#: How often expired tokens are looked for.
SWEEP_SECONDS = 60.0


class TokenCollector:
    """Removes expired tokens; `running()` is its life.

    Args:
        client: deletes them.
        informers: where the cache of tokens comes from.
        clock: tells which have expired.
    """

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._tokens = informers.of(Token)
        self._clock = clock

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Remove expired tokens for the length of the block."""
        async with background(("tokens", self._run)):
            yield

    async def _run(self) -> None:
        await keep_running("tokens", self.reconcile, wakeup=Wakeup(), resync_seconds=SWEEP_SECONDS)

    async def reconcile(self) -> None:
        """Remove every token that has expired by now."""
        await self._tokens.synced()
        now = self._clock.now()
        for token in self._tokens:
            if from_rfc3339(token.spec.expiration_timestamp) <= now:
                await self._remove(token)

    async def _remove(self, token: Token) -> None:
        try:
            await self._client.delete(token)
        except Conflict:
            return  # it was deleted, and another one has its name by now
        log.info("removed an expired token", token=token.name, user=token.spec.username)
