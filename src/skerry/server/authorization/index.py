"""Roles and bindings in memory, arranged by subject, so that a decision looks at the user's own rules only.

Owns the arrangement. Does not own where the objects come from (`authorization` follows them), nor what a rule means
(`rules`). Pure: one object more or less at a time, in any order; a binding may come before its role.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from skerry.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from skerry.server.access import Act, Decision
from skerry.server.auth import User
from skerry.server.authorization.rules import Allowance

#: A user or a group by its name; a service account is a user.
Holder = tuple[str, str]
#: The namespace and name of a role or binding; the namespace is "" for those of the cluster.
Key = tuple[str, str]

AnyRole = ClusterRole | Role
AnyBinding = ClusterRoleBinding | RoleBinding


@dataclass(slots=True)
class HeldRole:
    """What a role gives now; every binding to it shares this.

    Attributes:
        rules: as they are written; None while there is no such role.
        allowances: the same, ready to be asked.
    """

    key: Key
    rules: tuple[PolicyRule, ...] | None = None
    allowances: tuple[Allowance, ...] = ()

    def fill(self, rules: tuple[PolicyRule, ...] | None) -> None:
        """Take new rules."""
        self.rules, self.allowances = rules, tuple(Allowance(rule) for rule in rules or ())


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that someone holds, and the decision for what it allows."""

    role: HeldRole
    decision: Decision


@dataclass(slots=True)
class RbacIndex:
    """Who holds which roles.

    Attributes:
        roles: by namespace and name; those that only bindings name are there, too, empty.
        grants: by namespace ("" for everywhere), holder and binding's name.
    """

    roles: dict[Key, HeldRole] = field(default_factory=dict)
    grants: dict[str, dict[Holder, dict[str, Grant]]] = field(default_factory=dict)
    _bindings: dict[Key, AnyBinding] = field(default_factory=dict)

    def put_role(self, role: AnyRole) -> None:
        """Take a role, new or changed."""
        self._role((role.namespace, role.name)).fill(tuple(role.rules or ()))

    def remove_role(self, key: Key) -> None:
        """Forget a role; its bindings give nothing until it comes back."""
        self._role(key).fill(None)
        self._drop_if_unused(key)

    def put_binding(self, binding: AnyBinding) -> None:
        """Take a binding, new or changed."""
        key = binding.namespace, binding.name
        self.remove_binding(key)
        self._bindings[key] = binding
        role = self._role(role_key(binding.role_ref, binding.namespace))
        for subject in reversed(binding.subjects or ()):  # of equal ones the first is told
            if holder := _holder(subject, binding.namespace):
                grant = Grant(role, Decision(allowed=True, reason=_told(binding, subject)))
                self.grants.setdefault(binding.namespace, {}).setdefault(holder, {})[binding.name] = grant

    def remove_binding(self, key: Key) -> None:
        """Forget a binding."""
        binding = self._bindings.pop(key, None)
        if binding is None:
            return
        namespace, name = key
        holders = self.grants.get(namespace, {})
        for subject in binding.subjects or ():
            holder = _holder(subject, namespace)
            if holder and (grants := holders.get(holder)):
                grants.pop(name, None)
                if not grants:
                    del holders[holder]
        if not holders:
            self.grants.pop(namespace, None)
        self._drop_if_unused(role_key(binding.role_ref, namespace))

    def _role(self, key: Key) -> HeldRole:
        return self.roles.setdefault(key, HeldRole(key))

    def _drop_if_unused(self, key: Key) -> None:
        role = self.roles.get(key)
        if role is None or role.rules is not None:
            return
        if not any(role_key(b.role_ref, b.namespace) == key for b in self._bindings.values()):
            del self.roles[key]

    def grants_of(self, user: User, namespace: str) -> Iterator[Grant]:
        """Yield what a user holds: everywhere, and in a namespace where one is named."""
        for place in ("", namespace) if namespace else ("",):
            holders = self.grants.get(place)
            if holders:
                if found := holders.get(("User", user.name)):
                    yield from found.values()
                for group in user.groups:
                    if found := holders.get(("Group", group)):
                        yield from found.values()

    def decide(self, user: User, act: Act) -> Decision | None:
        """Return the decision of the first grant that allows an act; None where none does."""
        for grant in self.grants_of(user, act.namespace):
            for allowance in grant.role.allowances:
                if allowance.allows(act):
                    return grant.decision
        return None

    def absences(self, user: User, namespace: str) -> list[str]:
        """Return a sentence for every role that is given to a user and is not there."""
        return list(dict.fromkeys(absence(g.role.key) for g in self.grants_of(user, namespace) if g.role.rules is None))

    def rules_for(self, user: User, namespace: str) -> list[PolicyRule]:
        """Return every rule that a user holds."""
        return [rule for grant in self.grants_of(user, namespace) for rule in grant.role.rules or ()]

    def statistics(self) -> dict[str, int]:
        """Return how many roles and bindings there are; roles that are only named count as well."""
        return {"roles": len(self.roles), "bindings": len(self._bindings)}


def role_key(reference: RoleRef, namespace: str) -> Key:
    """Return the key of a binding's role."""
    return (namespace if reference.kind == "Role" else "", reference.name)


def absence(key: Key) -> str:
    """Return the sentence for a role that is not there."""
    kind = "role" if key[0] else "clusterrole"
    return f'{kind}.rbac.authorization.k8s.io "{key[1]}" not found'


def _holder(subject: Subject, namespace: str) -> Holder | None:
    """Return who a subject is; None for a service account of no namespace."""
    if subject.kind != "ServiceAccount":
        return subject.kind, subject.name
    place = subject.namespace or namespace
    return ("User", f"system:serviceaccount:{place}:{subject.name}") if place else None


def _told(binding: AnyBinding, subject: Subject) -> str:
    """Write why an act is allowed, as Kubernetes does."""
    place = f"/{binding.namespace}" if binding.namespace else ""
    name = subject.name
    if subject.kind == "ServiceAccount":
        name = f"{name}/{subject.namespace or binding.namespace}"
    kind, reference = type(binding).__name__, binding.role_ref
    return (
        f'RBAC: allowed by {kind} "{binding.name}{place}" of {reference.kind} "{reference.name}" '
        f'to {subject.kind} "{name}"'
    )
