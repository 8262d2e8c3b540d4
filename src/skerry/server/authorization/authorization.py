"""`Access` by roles and bindings: the index, what keeps it new, and what of it rules writes.

Owns the order in which it is decided: administrators, then roles (rbac.authorization.k8s.io/v1), then what nodes need.
Whatever none of them allows is refused; nothing denies.

Invariant: before the first request the index holds the whole present state, and a role or binding that was
acknowledged is in force for every request that this server takes up after the answer. For that the write waits
(`Policy.in_force`), so that decisions never do. A change made through another replica is in force within its delivery.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from skerry.api.gateway_v1 import GATEWAY
from skerry.api.rbac_v1 import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, PolicyRule
from skerry.client.client import Client
from skerry.kit.tasks import background
from skerry.server.access import Act, Decision, Held
from skerry.server.auth import ADMINISTRATORS, User
from skerry.server.authorization.bootstrap import ensure_default_roles
from skerry.server.authorization.escalation import check_escalation, check_named_secrets, check_token
from skerry.server.authorization.index import RbacIndex
from skerry.server.authorization.nodes import NodeSecrets
from skerry.server.authorization.rules import EVERYTHING
from skerry.server.following import Follower
from skerry.server.local import LocalTransport
from skerry.server.verbs.admission import Change
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

_ADMINISTRATOR = Decision(allowed=True)
_REFUSED = Decision(allowed=False)


class Authorization:
    """Decides by roles and bindings: an `Access`, and the `Policy` of the verbs.

    It refuses everyone but administrators until it is `running`.
    """

    def __init__(self) -> None:
        index, nodes = RbacIndex(), NodeSecrets()
        self._index = index
        self._nodes = nodes
        followers: tuple[Follower[Any], ...] = (
            Follower(CLUSTER_ROLE, index.put_role, index.remove_role),
            Follower(ROLE, index.put_role, index.remove_role),
            Follower(CLUSTER_ROLE_BINDING, index.put_binding, index.remove_binding),
            Follower(ROLE_BINDING, index.put_binding, index.remove_binding),
            Follower(GATEWAY, nodes.put_gateway, nodes.remove_gateway),
        )
        self._followers = {follower.kind.resource: follower for follower in followers}

    @asynccontextmanager
    async def running(self, verbs: Verbs) -> AsyncIterator[None]:
        """Follow the log for the length of the block; begins when the default roles are in force.

        Args:
            verbs: where roles are read and the default ones written; this object is their policy.
        """
        followers = self._followers.values()
        loops = [(f"authorization:{f.kind.plural}", partial(f.run, verbs)) for f in followers]
        async with background(*loops):
            for follower in followers:
                await follower.synced()
            await ensure_default_roles(Client(LocalTransport(verbs, manager="skerry")), verbs.kinds.built_in)
            yield

    def decide(self, user: User, act: Act) -> Decision:
        """Decide; see `Access`."""
        if ADMINISTRATORS in user.groups:
            return _ADMINISTRATOR
        return self._index.decide(user, act) or self._nodes.decide(user, act) or self._refusal(user, act)

    def _refusal(self, user: User, act: Act) -> Decision:
        absent = self._index.absences(user, act.namespace)
        if not absent:
            return _REFUSED
        told = absent[0] if len(absent) == 1 else f"[{', '.join(absent)}]"
        return Decision(allowed=False, reason=f"RBAC: {told}")

    def held_by(self, user: User, namespace: str) -> Held:
        """Return what a user may do; see `Access`."""
        if ADMINISTRATORS in user.groups:
            return Held(EVERYTHING)
        rules = [*self._index.rules_for(user, namespace), *self._nodes.rules_for(user, namespace)]
        return Held(rules, tuple(self._index.absences(user, namespace)))

    def rules_of(self, key: tuple[str, str]) -> tuple[PolicyRule, ...] | None:
        """Return the rules of a role by its namespace ("" for a ClusterRole) and name; None where there is none."""
        role = self._index.roles.get(key)
        return role.rules if role else None

    def statistics(self) -> dict[str, int]:
        """Return how many roles, bindings and Secrets of nodes are held, and the oldest place that one is at."""
        revision = min(follower.position for follower in self._followers.values())
        return {**self._index.statistics(), "node_secrets": len(self._nodes), "revision": revision}

    def check(self, change: Change) -> None:
        """Refuse roles, bindings, tokens and code that give more than who writes them has; see `Policy`."""
        check_escalation(change, self)
        check_token(change, self)
        check_named_secrets(change, self)

    def check_delete(self, target: Target) -> None:
        """Let every object go: what nobody may delete, nobody may ask for; see `Policy`."""

    async def in_force(self, target: Target, revision: int) -> None:
        """Wait until a write of roles or bindings decides; see `Policy`."""
        if (follower := self._followers.get(target.kind.resource)) is not None:
            await follower.reached(revision)
