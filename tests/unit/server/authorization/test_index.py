"""The index: whatever order roles and bindings come and go in, it decides as a walk over all of them would."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skerry.api.model import ObjectMeta
from skerry.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject
from skerry.server.access import Act
from skerry.server.auth import User
from skerry.server.authorization.index import AnyBinding, AnyRole, RbacIndex
from skerry.server.authorization.rules import Allowance

ALICE = User("alice", groups=("dev", "system:authenticated"))
CI = User("system:serviceaccount:build:ci", groups=("system:serviceaccounts",))


def role(name: str, *resources: str, namespace: str = "", verbs: tuple[str, ...] = ("get",)) -> AnyRole:
    rules = [PolicyRule(verbs=list(verbs), api_groups=[""], resources=list(resources))] if resources else None
    meta = ObjectMeta(name=name, namespace=namespace or None)
    return Role(metadata=meta, rules=rules) if namespace else ClusterRole(metadata=meta, rules=rules)


def subject(text: str) -> Subject:
    kind, name, *namespace = text.split(":")
    return Subject(kind=kind, name=name, namespace=namespace[0] if namespace else None)


def binding(name: str, role_name: str, *subjects: str, namespace: str = "", kind: str = "ClusterRole") -> AnyBinding:
    make: Any = RoleBinding if namespace else ClusterRoleBinding
    made = make(
        metadata=ObjectMeta(name=name, namespace=namespace or None),
        subjects=[subject(text) for text in subjects],
        role_ref=RoleRef(kind=kind, name=role_name),
    )
    assert isinstance(made, RoleBinding | ClusterRoleBinding)
    return made


PODS = Act("get", "", "pods", namespace="shop")


def allowed(index: RbacIndex, user: User, act: Act = PODS) -> bool:
    return index.decide(user, act) is not None


def test_a_cluster_role_binding_counts_everywhere_and_a_role_binding_in_its_namespace() -> None:
    index = RbacIndex()
    index.put_role(role("reader", "pods"))
    index.put_binding(binding("b", "reader", "User:alice", namespace="shop"))
    assert allowed(index, ALICE)
    assert not allowed(index, ALICE, PODS._replace(namespace="other"))
    assert not allowed(index, ALICE, PODS._replace(namespace=""))
    index.put_binding(binding("b", "reader", "User:alice"))
    assert allowed(index, ALICE, PODS._replace(namespace="other"))
    assert allowed(index, ALICE, PODS._replace(namespace=""))


def test_groups_and_service_accounts_are_subjects_too() -> None:
    index = RbacIndex()
    index.put_role(role("reader", "pods"))
    index.put_binding(binding("b", "reader", "Group:dev", "ServiceAccount:ci:build"))
    assert allowed(index, ALICE)
    assert allowed(index, CI)
    assert not allowed(index, replace(ALICE, groups=()))
    assert not allowed(index, User("system:serviceaccount:other:ci"))


def test_a_service_account_without_a_namespace_is_of_the_bindings() -> None:
    index = RbacIndex()
    index.put_role(role("reader", "pods"))
    index.put_binding(binding("b", "reader", "ServiceAccount:ci", namespace="shop"))
    assert allowed(index, User("system:serviceaccount:shop:ci"))
    assert not allowed(index, CI)


def test_a_role_of_the_namespace_is_not_the_cluster_role_of_its_name() -> None:
    index = RbacIndex()
    index.put_role(role("reader", "secrets"))
    index.put_role(role("reader", "pods", namespace="shop"))
    index.put_binding(binding("b", "reader", "User:alice", namespace="shop", kind="Role"))
    assert allowed(index, ALICE)
    assert not allowed(index, ALICE, PODS._replace(resource="secrets"))


def test_a_binding_may_come_before_its_role_and_outlive_it() -> None:
    index = RbacIndex()
    index.put_binding(binding("b", "reader", "User:alice"))
    assert index.absences(ALICE, "") == ['clusterrole.rbac.authorization.k8s.io "reader" not found']
    index.put_role(role("reader", "pods"))
    assert allowed(index, ALICE)
    assert index.absences(ALICE, "") == []
    index.remove_role(("", "reader"))
    assert not allowed(index, ALICE)
    index.remove_binding(("", "b"))
    assert index == RbacIndex()


def test_a_binding_that_gives_to_nobody_comes_and_goes_like_any_other() -> None:
    index = RbacIndex()
    index.put_binding(binding("nobody", "reader", "ServiceAccount:ci"))
    index.put_binding(binding("b", "reader", "User:alice"))
    for name in ("b", "nobody"):
        index.remove_binding(("", name))
    assert index == RbacIndex()


def test_the_reason_names_binding_role_and_subject() -> None:
    index = RbacIndex()
    index.put_role(role("reader", "pods"))
    index.put_binding(binding("b", "reader", "User:alice", namespace="shop"))
    decision = index.decide(ALICE, PODS)
    assert decision is not None
    assert decision.reason == 'RBAC: allowed by RoleBinding "b/shop" of ClusterRole "reader" to User "alice"'


NAMES = st.sampled_from(["a", "b"])
PLACES = st.sampled_from(["", "shop", "other"])
RESOURCES = st.lists(st.sampled_from(["pods", "secrets"]), max_size=2, unique=True)
SUBJECTS = st.lists(
    st.sampled_from(["User:alice", "Group:dev", "ServiceAccount:ci:build", "ServiceAccount:ci"]), max_size=3
)


class IndexMachine(RuleBasedStateMachine):
    """The index beside two plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.index = RbacIndex()
        self.roles: dict[tuple[str, str], AnyRole] = {}
        self.bindings: dict[tuple[str, str], AnyBinding] = {}

    @rule(name=NAMES, place=PLACES, resources=RESOURCES)
    def put_role(self, name: str, place: str, resources: list[str]) -> None:
        made = role(name, *resources, namespace=place)
        self.roles[(place, name)] = made
        self.index.put_role(made)

    @rule(name=NAMES, place=PLACES)
    def remove_role(self, name: str, place: str) -> None:
        self.roles.pop((place, name), None)
        self.index.remove_role((place, name))

    @rule(name=NAMES, place=PLACES, to=NAMES, subjects=SUBJECTS, kind=st.sampled_from(["Role", "ClusterRole"]))
    def put_binding(self, name: str, place: str, to: str, subjects: list[str], kind: str) -> None:
        made = binding(name, to, *subjects, namespace=place, kind=kind if place else "ClusterRole")
        self.bindings[(place, name)] = made
        self.index.put_binding(made)

    @rule(name=NAMES, place=PLACES)
    def remove_binding(self, name: str, place: str) -> None:
        self.bindings.pop((place, name), None)
        self.index.remove_binding((place, name))

    @invariant()
    def decides_as_a_walk_over_everything(self) -> None:
        for user in (ALICE, CI, User("system:serviceaccount:shop:ci")):
            for namespace in ("", "shop", "other"):
                for resource in ("pods", "secrets"):
                    act = Act("get", "", resource, namespace=namespace)
                    assert allowed(self.index, user, act) is self.walk(user, act), (user, act)

    def walk(self, user: User, act: Act) -> bool:
        for (place, _), made in self.bindings.items():
            if place not in {"", act.namespace} or not any(is_meant(user, s, place) for s in made.subjects or ()):
                continue
            found = self.roles.get((place if made.role_ref.kind == "Role" else "", made.role_ref.name))
            if found and any(Allowance(one).allows(act) for one in found.rules or ()):
                return True
        return False


def is_meant(user: User, found: Subject, place: str) -> bool:
    match found.kind:
        case "User":
            return user.name == found.name
        case "Group":
            return found.name in user.groups
        case _:
            namespace = found.namespace or place
            return bool(namespace) and user.name == f"system:serviceaccount:{namespace}:{found.name}"


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
