"""What nodes may read beyond the role `system:node`: the Secrets that their traffic needs, each by its name.

A role can't say "the Secrets that Gateways name", and all Secrets would be too much. So the objects that name Secrets
are followed, and a node may get, list and watch a Secret under its name (`metadata.name=NAME`) while one names it.
"""

from collections.abc import Iterable

from skerry.api.gateway_v1 import Gateway
from skerry.api.rbac_v1 import PolicyRule
from skerry.server.access import Act, Decision
from skerry.server.auth import User

#: The group that every node belongs to, and how its name begins.
NODES = "system:nodes"
NODE_PREFIX = "system:node:"

_READ = ("get", "list", "watch")
_ALLOWED = Decision(allowed=True, reason="a Gateway names this Secret")

Key = tuple[str, str]


class NodeSecrets:
    """The Secrets that nodes may read."""

    def __init__(self) -> None:
        self._by_gateway: dict[Key, frozenset[Key]] = {}
        self._named: frozenset[Key] = frozenset()

    def put_gateway(self, gateway: Gateway) -> None:
        """Take a Gateway, new or changed."""
        self._by_gateway[(gateway.namespace, gateway.name)] = frozenset(_secrets_of(gateway))
        self._collect()

    def remove_gateway(self, key: Key) -> None:
        """Forget a Gateway."""
        self._by_gateway.pop(key, None)
        self._collect()

    def _collect(self) -> None:
        self._named = frozenset().union(*self._by_gateway.values())

    def __len__(self) -> int:
        """Return how many Secrets are named."""
        return len(self._named)

    def decide(self, user: User, act: Act) -> Decision | None:
        """Return the decision where a node reads a Secret that it needs, else None."""
        asks = (act.group, act.resource, act.subresource) == ("", "secrets", "") and act.verb in _READ
        return _ALLOWED if asks and _is_node(user) and (act.namespace, act.name) in self._named else None

    def rules_for(self, user: User, namespace: str) -> list[PolicyRule]:
        """Return the same as rules, for who asks what it may."""
        names = sorted(name for place, name in self._named if place == namespace)
        if not names or not _is_node(user):
            return []
        return [PolicyRule(verbs=list(_READ), api_groups=[""], resources=["secrets"], resource_names=names)]


def _is_node(user: User) -> bool:
    return NODES in user.groups and user.name.startswith(NODE_PREFIX)


def _secrets_of(gateway: Gateway) -> Iterable[Key]:
    """Yield the Secrets that a Gateway names, as `gateway.gateways` resolves them: in its own namespace."""
    for listener in gateway.spec.listeners:
        for ref in (listener.tls and listener.tls.certificate_refs) or ():
            if (ref.group, ref.kind) == ("", "Secret") and (ref.namespace or gateway.namespace) == gateway.namespace:
                yield gateway.namespace, ref.name
