"""Fills the ClusterRoles that are made of others: `admin`, `edit`, `view`, and whichever a user makes so.

Owns `rules` of every ClusterRole with an `aggregationRule`. Does not own which roles it selects, nor what they say.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.errors import NotFound
from skerry.api.rbac_v1 import ClusterRole, aggregated
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)

#: Roles worked on at once.
CONCURRENCY = 4
#: Every aggregated role is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0


class ClusterRoleAggregator:
    """Keeps aggregated roles complete; `running()` is its life.

    Args:
        client: writes the rules.
        informers: where the cache of ClusterRoles comes from.
    """

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._roles = informers.of(ClusterRole)
        self._workers = KeyedWorkers("aggregation", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Aggregate roles for the length of the block."""
        self._roles.on_change(lambda _: self._look_at_all())
        async with resynced("aggregation", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    async def _resync(self) -> None:
        await self._roles.synced()
        self._look_at_all()

    def _look_at_all(self) -> None:
        """Ask for a turn of every aggregated role: any change may bear on any of them."""
        for role in self._roles:
            if role.aggregation_rule is not None:
                self._workers.add(role.name)

    async def reconcile(self, name: str) -> None:
        """Bring the rules of one role to what its selectors select; leaves one alone that aggregates nothing."""
        await self._roles.synced()
        role = self._roles.get(name)
        if role is None or role.aggregation_rule is None:
            return
        wanted = aggregated(role, self._roles)

        def fill(stored: ClusterRole) -> None:
            if stored.aggregation_rule is not None and (stored.rules or []) != wanted:
                stored.rules = wanted

        try:
            await self._client.change(role, fill)
        except NotFound:
            return  # deleted meanwhile
