"""Who may do what. One question, asked by every front door before it calls a verb.

Now: administrators may everything, every known user may ask about themselves and read what the API offers.
Role based access (rbac.authorization.k8s.io) is another implementation of the same `Access`.
"""

from dataclasses import dataclass
from typing import Protocol

from skerry.api.errors import Forbidden
from skerry.server.auth import ADMINISTRATORS, User


@dataclass(frozen=True, slots=True)
class Act:
    """What someone wants to do.

    Attributes:
        verb: get, list, watch, create, update, patch, delete, deletecollection; for paths, the method in lower case.
        path: set for what is no resource.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether, and why (not)."""

    allowed: bool
    reason: str = ""


class Access(Protocol):
    """Decides who may do what."""

    def decide(self, user: User, act: Act) -> Decision:
        """Decide; never raises."""
        ...


class AdministratorsOnly:
    """Members of `system:masters` may everything, others nothing."""

    def decide(self, user: User, act: Act) -> Decision:
        """Decide; see `Access`."""
        del act  # administrators may everything
        if ADMINISTRATORS in user.groups:
            return Decision(allowed=True)
        return Decision(allowed=False, reason=f"only members of {ADMINISTRATORS} may")


def require(access: Access, user: User, act: Act) -> None:
    """Raise Forbidden, in Kubernetes' words, unless the user may."""
    decision = access.decide(user, act)
    if decision.allowed:
        return
    because = f": {decision.reason}" if decision.reason else ""
    if act.path:
        raise Forbidden(f'forbidden: User "{user.name}" cannot {act.verb} path "{act.path}"{because}')
    resource = f"{act.resource}/{act.subresource}" if act.subresource else act.resource
    scope = f'in the namespace "{act.namespace}"' if act.namespace else "at the cluster scope"
    qualified = f"{act.resource}.{act.group}" if act.group else act.resource
    raise Forbidden(
        f'{qualified}{f" {chr(34)}{act.name}{chr(34)}" if act.name else ""} is forbidden: User "{user.name}" cannot '
        f'{act.verb} resource "{resource}" in API group "{act.group}" {scope}{because}',
        details={k: v for k, v in {"name": act.name, "group": act.group, "kind": act.resource}.items() if v},
    )
