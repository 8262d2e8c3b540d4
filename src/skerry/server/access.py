"""Who may do what. One question, asked by every front door before it does anything.

Owns the question, its answer and the refusal's words. `authorization` answers it, from roles and bindings in the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from skerry.api.errors import Forbidden
from skerry.api.rbac_v1 import PolicyRule
from skerry.server.auth import User


class Act(NamedTuple):
    """What someone wants to do.

    Attributes:
        verb: get, list, watch, create, update, patch, delete, deletecollection, and what is asked about without being
            a request: bind, escalate, impersonate; for paths, the method in lower case.
        group: API group of the resource; "" for core.
        resource: plural name.
        subresource: such as "status"; "" for the object itself.
        namespace: "" for cluster-scoped resources, and for all namespaces.
        name: "" for collections.
        path: set for what is no resource; the rest is empty then.
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


@dataclass(frozen=True, slots=True)
class Held:
    """What someone may do.

    Attributes:
        rules: every rule.
        problems: sentences for what could not be found out; the rules may be incomplete then.
    """

    rules: Sequence[PolicyRule]
    problems: tuple[str, ...] = ()


class Access(Protocol):
    """Decides who may do what."""

    def decide(self, user: User, act: Act) -> Decision:
        """Decide; never raises."""
        ...

    def held_by(self, user: User, namespace: str) -> Held:
        """Return what a user may do in a namespace, or everywhere where it is ""."""
        ...


def path_act(method: str, path: str) -> Act:
    """Return the act of a request for what is no resource; its verb is the method, and HEAD is as good as GET."""
    return Act(path_verb(method), path=path)


def path_verb(method: str) -> str:
    """Return the verb of a request for what is no resource."""
    return "get" if method == "HEAD" else method.lower()


class Denied(Forbidden):
    """What the access decided against, with its decision for the audit log; on the wire it is a Forbidden."""

    def __init__(self, message: str, decision: Decision, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)
        self.decision = decision


def require(access: Access, user: User, act: Act) -> Decision:
    """Return why the user may; raises Denied, in Kubernetes' words, where not."""
    decision = access.decide(user, act)
    if decision.allowed:
        return decision
    because = f": {decision.reason}" if decision.reason else ""
    if act.path:
        raise Denied(f'forbidden: User "{user.name}" cannot {act.verb} path "{act.path}"{because}', decision)
    resource = f"{act.resource}/{act.subresource}" if act.subresource else act.resource
    scope = f'in the namespace "{act.namespace}"' if act.namespace else "at the cluster scope"
    qualified = f"{act.resource}.{act.group}" if act.group else act.resource
    raise Denied(
        f'{qualified}{f" {chr(34)}{act.name}{chr(34)}" if act.name else ""} is forbidden: User "{user.name}" cannot '
        f'{act.verb} resource "{resource}" in API group "{act.group}" {scope}{because}',
        decision,
        {k: v for k, v in {"name": act.name, "group": act.group, "kind": act.resource}.items() if v},
    )
