"""Nobody gives more than they have: the check of every role, binding and token that a user writes.

A role may hold only what its writer holds, or its writer may `escalate` it; a binding may give only a role whose rules
its writer holds, or which its writer may `bind`. The check sees the object as it will be stored, so it does not matter
by which verb it was made. Rules and words: pkg/registry/rbac/*/policybased/storage.go.

A token may stand only for a user and groups that its writer may `impersonate`.

Writes of Skerry itself (no user), and of administrators, are not checked.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from skerry.api.apoxy_function_code import secrets_of
from skerry.api.authentication_v1alpha1 import Token
from skerry.api.baetyl_applications import Application
from skerry.api.dispatch_drivers import EventDriver
from skerry.api.dispatch_events import Subscription
from skerry.api.dispatch_services import ServiceBroker, ServiceClass, ServiceInstance, service_secrets
from skerry.api.dispatch_v1 import GROUP as DISPATCH_GROUP
from skerry.api.dispatch_v1 import Function, Run
from skerry.api.errors import NotFound
from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision
from skerry.api.model import Document, to_document
from skerry.api.rbac_v1 import GROUP, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from skerry.fleet.applications import facts_of
from skerry.server.access import Access, Act, require
from skerry.server.auth import ADMINISTRATORS, User
from skerry.server.authorization.index import absence, role_key
from skerry.server.authorization.rules import EVERYTHING, missing, quoted, told
from skerry.server.impersonation import impersonation_acts
from skerry.server.verbs.admission import Change
from skerry.server.verbs.answers import forbidden

#: What garbage collection needs to change; a write of these alone grants nothing.
_COLLECTOR_FIELDS = ("ownerReferences", "finalizers")


class Roles(Access, Protocol):
    """Who holds what, and what is in a role."""

    def rules_of(self, key: tuple[str, str]) -> tuple[PolicyRule, ...] | None:
        """Return the rules of a role by its namespace ("" for a ClusterRole) and name; None where there is none."""
        ...


def check_escalation(change: Change, roles: Roles) -> None:
    """Check a change of a role or binding, any other passes.

    Raises:
        Forbidden: it gives what its writer does not hold.
        NotFound: it gives a role that is not there, so nobody can tell.
    """
    user = change.user
    if user is None or ADMINISTRATORS in user.groups or not isinstance(change.object, _CHECKED):
        return
    if change.old is not None and _granting(change.object) == _granting(change.old):
        return
    match change.object:
        case ClusterRole() | Role() as role:
            _check_role(change, role, user, roles)
        case ClusterRoleBinding() | RoleBinding() as binding:
            _check_binding(change, binding, user, roles)


def check_token(change: Change, access: Access) -> None:
    """Check that who makes a token may act as its user; any other change passes. Raises Forbidden."""
    user, token = change.user, change.object
    if user is None or change.old is not None or not isinstance(token, Token):
        return
    for act in impersonation_acts(User(token.spec.username, groups=tuple(token.spec.groups))):
        require(access, user, act)


def check_named_secrets(change: Change, access: Access) -> None:
    """Check that who names Secrets may read them: their content goes to wherever the code is said to be, or to code.

    A change that leaves alone what decides where they go passes. Raises Forbidden.
    """
    user = change.user
    if user is None:
        return
    decisive, names = _named_secrets(change.object)
    if change.old is not None and _named_secrets(change.old)[0] == decisive:
        return
    for namespace, name in names:
        require(access, user, Act("get", "", "secrets", namespace=namespace, name=name))
    for name in _named_services(change.object):
        require(
            access,
            user,
            Act("update", DISPATCH_GROUP, "serviceinstances", namespace=change.object.namespace, name=name),
        )


def _named_secrets(obj: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Return what decides where the content of Secrets goes, and namespace and name of each."""
    match obj:
        case EdgeFunction():
            code = obj.spec.template.code
            return code, list(secrets_of(code))
        case EdgeFunctionRevision():
            return obj.spec.code, list(secrets_of(obj.spec.code))
        case Function() | Run() | Subscription() | EventDriver():
            return obj.spec, [(obj.namespace, name) for name in obj.spec.secrets or ()]
        case Application():
            return obj.spec, [(s.namespace, s.name) for s in facts_of(obj).mounts if s.sort == "secret"]
        case ServiceInstance() | ServiceClass() | ServiceBroker():
            return obj.spec, [(obj.namespace, name) for name in service_secrets(obj)]
        case _:
            return None, []


def _named_services(obj: Any) -> list[str]:
    """Return the service instances whose credentials code gets: who may change one may name it."""
    return list(obj.spec.services or ()) if isinstance(obj, Function | Run) else []


_CHECKED = (ClusterRole, Role, ClusterRoleBinding, RoleBinding)


def _granting(obj: Any) -> Document:
    document = to_document(obj)
    meta = {name: value for name, value in document["metadata"].items() if name not in _COLLECTOR_FIELDS}
    return {**document, "metadata": meta}


def _check_role(change: Change, role: ClusterRole | Role, user: User, roles: Roles) -> None:
    kind = change.target.kind
    act = Act("escalate", GROUP, kind.plural, namespace=role.namespace, name=role.name)
    if roles.decide(user, act).allowed:
        return
    if any(_aggregates(state) for state in (role, change.old)) and _lacks(user, role.namespace, EVERYTHING, roles):
        raise forbidden(change.named_target, "must have cluster-admin privileges to use an aggregationRule")
    _check_rules(change, role.rules or (), user, roles)


def _aggregates(role: Any) -> bool:
    rule = role.aggregation_rule if isinstance(role, ClusterRole) else None
    return bool(rule and rule.cluster_role_selectors)


def _check_binding(change: Change, binding: ClusterRoleBinding | RoleBinding, user: User, roles: Roles) -> None:
    reference, namespace = binding.role_ref, binding.namespace
    plural = "roles" if reference.kind == "Role" else "clusterroles"
    if roles.decide(user, Act("bind", GROUP, plural, namespace=namespace, name=reference.name)).allowed:
        return
    rules = roles.rules_of(role_key(reference, namespace))
    if rules is None:
        details = {"name": reference.name, "group": GROUP, "kind": plural}
        raise NotFound(absence(role_key(reference, namespace)), details=details)
    _check_rules(change, rules, user, roles)


def _check_rules(change: Change, rules: Sequence[PolicyRule], user: User, roles: Roles) -> None:
    lacking = _lacks(user, change.object.namespace, rules, roles)
    if lacking:
        who = f'user "{user.name}" (groups={quoted(user.groups)})'
        raise forbidden(
            change.named_target, f"{who} is attempting to grant RBAC permissions not currently held:\n{lacking}"
        )


def _lacks(user: User, namespace: str, rules: Sequence[PolicyRule], roles: Roles) -> str:
    """Return what of some rules a user does not hold, as lines; "" where nothing is missing."""
    return told(missing(roles.held_by(user, namespace).rules, rules))
