"""The certificate of this node, renewed before it ends.

Owns when, and the order: the new one is on disk before it is shown, and the old one holds until its own end, so a crash
anywhere leaves one that works. Does not own who may have one: the control plane gives none to a node that is revoked.
"""

import datetime as dt
import random
from collections.abc import Awaitable, Callable
from ssl import SSLContext

from skerry.agent.member.errors import LinkError
from skerry.agent.member.link import CloudLink, show
from skerry.agent.member.settings import Certificate, Identity, MemberSettings, keep_identity
from skerry.kit.clock import Clock
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: A certificate is renewed when this share of its life is over; up to `JITTER` of it sooner, so that nodes that were
#: installed on one day do not come on one day.
RENEWED_AT, JITTER = 2 / 3, 0.1
#: How often it is looked at, at least: a machine may sleep, and its clock be set.
LOOK_SECONDS_MAX, LOOK_SECONDS_MIN = 3600.0, 1.0


class Renewal:
    """Keeps this node's certificate current; `turn` and `next_seconds` are for `keep_running`.

    Args:
        settings: where it is kept.
        identity: who this node is.
        trust: shows it.
        link: asks for another.
        clock: tells how old it is.
        renewed: called once another is shown.
    """

    def __init__(
        self,
        settings: MemberSettings,
        identity: Identity,
        trust: SSLContext,
        link: CloudLink,
        *,
        clock: Clock,
        renewed: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._trust = trust
        self._link = link
        self._clock = clock
        self._renewed = renewed
        self._due = _due(identity.certificate)

    def next_seconds(self) -> float:
        """Return how long until it is looked at again."""
        left = (self._due - self._clock.now()).total_seconds()
        return min(LOOK_SECONDS_MAX, max(LOOK_SECONDS_MIN, left))

    async def turn(self) -> None:
        """Renew the certificate where it is time to; raises LinkError, and then the old one stays."""
        if self._clock.now() < self._due:
            return
        answer = await self._link.renewed_certificate()
        try:
            certificate = Certificate.model_validate(answer)
            identity = self._identity.model_copy(update={"certificate": certificate})
            due = _due(certificate)
        except ValueError as error:
            raise LinkError("the control plane's answer has no certificate in it") from error
        keep_identity(self._settings, identity)
        show(self._trust, identity)
        self._identity, self._due = identity, due
        log.info("this node has another certificate", ends=certificate.ends.isoformat())
        await self._renewed()


def _due(certificate: Certificate) -> dt.datetime:
    """Return when a certificate is to be renewed."""
    share = RENEWED_AT - random.uniform(0, JITTER)  # noqa: S311 - jitter is no secret
    return certificate.begins + (certificate.ends - certificate.begins) * share
