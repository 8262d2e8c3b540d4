"""Tells of each EgressPolicy which functions it is about.

Owns the status of EgressPolicies. Does not own what they allow: the agents bring that to the engine workers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.egress_policy_v1alpha1 import EgressPolicy, EgressPolicyStatus
from skerry.api.errors import NotFound
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.model import Condition, with_condition
from skerry.client.client import Client
from skerry.client.informer import Key
from skerry.client.informers import Informers
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.tasks import KeyedWorkers, resynced

#: Policies worked on at once.
CONCURRENCY = 4
#: Every policy is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0
#: The names of functions in a condition's message; the rest are counted.
NAMED_MAX = 20


class EgressPolicyController:
    """Keeps the status of EgressPolicies true; `running()` is its life.

    Args:
        client: writes the status.
        informers: where the caches of policies and functions come from.
        clock: stamps conditions.
    """

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._policies = informers.of(EgressPolicy)
        self._functions = informers.of(EdgeFunction)
        self._clock = clock
        self._workers = KeyedWorkers("egress-policies", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        self._policies.on_change(lambda key: self._workers.add(key[1]))
        self._functions.on_change(self._look_at_all)
        async with resynced("egress-policies", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    async def _resync(self) -> None:
        await self._policies.synced()
        self._look_at_all()

    def _look_at_all(self, _: Key | None = None) -> None:
        """Ask for a turn of every policy: a function's labels may bear on any."""
        for policy in self._policies:
            self._workers.add(policy.name)

    async def reconcile(self, name: str) -> None:
        """Bring the status of one policy to what it selects."""
        await self._policies.synced()
        await self._functions.synced()
        policy = self._policies.get(name)
        if policy is None:
            return
        selected = sorted(function.name for function in self._functions if policy.selects(function))

        def tell(stored: EgressPolicy) -> None:
            stored.status = self._status(stored, selected)

        try:
            await self._client.change_status(policy, tell)
        except NotFound:
            return  # deleted meanwhile

    def _status(self, policy: EgressPolicy, selected: list[str]) -> EgressPolicyStatus:
        condition = Condition(
            type="Selected",
            status="True" if selected else "False",
            observed_generation=policy.metadata.generation,
            last_transition_time=rfc3339(self._clock.now()),
            reason="FunctionsSelected" if selected else "NoFunctions",
            message=_message(selected),
        )
        conditions = with_condition(policy.status.conditions, condition)
        return EgressPolicyStatus(selected_functions=len(selected), conditions=conditions)


def _message(selected: list[str]) -> str:
    if not selected:
        return "no function is selected"
    more = f" and {len(selected) - NAMED_MAX} more" if len(selected) > NAMED_MAX else ""
    return f"in force for {', '.join(selected[:NAMED_MAX])}{more}"
