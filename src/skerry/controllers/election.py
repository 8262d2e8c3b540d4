"""One of many: controllers run in the replica that holds a Lease, and in another one soon after it is gone.

Owns the Lease and the decision who leads. Does not own what the leader does.

**Clocks.** No time that another machine wrote is ever compared with a clock of ours: a replica measures on its own
monotonic clock for how long it has seen the same renewal, and takes the lease after `lease_seconds`. The holder stops
`renew_seconds` after the last renewal that went through, measured from before it was sent. So however wrong the clocks
are set, two replicas lead at once only if one's clock runs 1.5 times as fast as the other's (`lease_seconds` to
`renew_seconds`), or if stopping takes longer than the difference. Even then nothing is lost or done twice that matters:
every write of a controller is a compare-and-swap.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

from skerry.api.coordination_v1 import Lease, LeaseSpec
from skerry.api.errors import AlreadyExists, ApiError
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.kit.clock import Clock, rfc3339_micro
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import TurnCancelledError, Wakeup, background, whole_turn

log = get_logger(__name__)

NAMESPACE = "kube-system"
#: How long a replica that stops may take to give the lease back, which others wait for otherwise.
RELEASE_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """The times of an election, as Kubernetes' own controllers have them.

    Attributes:
        lease_seconds: how long others wait before they take a lease that is not renewed.
        renew_seconds: how long the holder goes on without a renewal.
        retry_seconds: how often the lease is renewed, and looked at.
    """

    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_seconds < self.renew_seconds < self.lease_seconds:
            raise ConfigurationError("an election needs retry_seconds < renew_seconds < lease_seconds")


class LeadershipLost(Exception):
    """The lease could not be renewed in time, or is another's."""


class Election:
    """One replica's part in an election.

    Args:
        client: reads and writes the lease.
        name: of the lease.
        identity: of this replica, unlike any other's and any earlier one's.
        clock: this machine's.
        settings: the times.
    """

    def __init__(
        self, client: Client, name: str, identity: str, clock: Clock, settings: ElectionSettings | None = None
    ) -> None:
        self._client = client
        self._name = name
        self._identity = identity
        self._clock = clock
        self._settings = settings or ElectionSettings()
        #: The renewal that was seen last, and when it was seen first.
        self._seen = ("", 0.0)

    async def run(self, lead: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Enter `lead` whenever this replica leads, leave it when it does no more; for ever.

        A TaskGroup raises a failure alone where its task was cancelled besides, so what serves has a task of its own:
        whoever is told to stop as the lease is lost stops.
        """
        try:
            while True:
                if await self.attempt():
                    await whole_turn(partial(self._serve, lead))
                await Wakeup().wait(self._settings.retry_seconds)
        finally:
            await self._release()

    async def _serve(self, lead: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        log.info("this replica leads", lease=self._name, identity=self._identity)
        try:
            async with background(("election", self._hold)), lead():
                await asyncio.Event().wait()
        except* LeadershipLost:
            log.warning("this replica leads no more", lease=self._name, identity=self._identity)

    async def attempt(self, *, seconds_max: float | None = None) -> bool:
        """Take or renew the lease where that may be done; tell whether it is this replica's now.

        Args:
            seconds_max: how long that may take; `renew_seconds` by default.
        """
        try:
            with within(self._settings.renew_seconds if seconds_max is None else seconds_max):
                return await whole_turn(self._attempt)
        except (ApiError, TimeoutError, TurnCancelledError) as error:
            log.warning("the lease can't be asked for", lease=self._name, reason=str(error))
            return False

    async def _attempt(self) -> bool:
        lease = await self._client.find(Lease, self._name, namespace=NAMESPACE)
        if lease is None:
            metadata = ObjectMeta(name=self._name, namespace=NAMESPACE)
            try:
                lease = await self._client.create(Lease(metadata=metadata, spec=self._held(LeaseSpec())))
            except AlreadyExists:
                return False
        elif self._may_take(lease):
            seen = lease.metadata.resource_version

            def take(stored: Lease) -> None:
                if stored.metadata.resource_version == seen:  # another one has not come first
                    stored.spec = self._held(stored.spec)

            lease = await self._client.change(lease, take)
        return lease.spec.holder_identity == self._identity

    def _may_take(self, lease: Lease) -> bool:
        renewal, now = lease.metadata.resource_version or "", self._clock.monotonic_seconds()
        if self._seen[0] != renewal:
            self._seen = (renewal, now)
        lasts = lease.spec.lease_duration_seconds or self._settings.lease_seconds
        over = now - self._seen[1] >= lasts
        return lease.spec.holder_identity in {None, self._identity} or over

    def _held(self, spec: LeaseSpec) -> LeaseSpec:
        """Return a lease's content as it is with this replica as its holder."""
        now, mine = rfc3339_micro(self._clock.now()), spec.holder_identity == self._identity
        return LeaseSpec(
            holder_identity=self._identity,
            lease_duration_seconds=round(self._settings.lease_seconds),
            acquire_time=spec.acquire_time if mine else now,
            renew_time=now,
            lease_transitions=0 if spec.lease_transitions is None else spec.lease_transitions + (not mine),
        )

    async def _hold(self) -> None:
        """Renew until that fails for too long; raises LeadershipLost."""
        renewed_seconds = self._clock.monotonic_seconds()
        while True:
            await Wakeup().wait(self._settings.retry_seconds)
            sent_seconds = self._clock.monotonic_seconds()
            left_seconds = renewed_seconds + self._settings.renew_seconds - sent_seconds
            if await self.attempt(seconds_max=left_seconds):
                renewed_seconds = sent_seconds
            elif self._clock.monotonic_seconds() - renewed_seconds >= self._settings.renew_seconds:
                raise LeadershipLost

    async def _release(self) -> None:
        """Let others take the lease at once."""

        def release(stored: Lease) -> None:
            if stored.spec.holder_identity == self._identity:
                stored.spec.holder_identity = None

        try:
            with within(RELEASE_SECONDS_MAX):
                lease = await self._client.find(Lease, self._name, namespace=NAMESPACE)
                if lease is not None:
                    await self._client.change(lease, release)
        except (ApiError, TimeoutError) as error:
            log.warning("the lease can't be given back", lease=self._name, reason=str(error))
