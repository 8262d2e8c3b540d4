"""What a decision costs, by who asks and how much there is to look at.

python bench/authorization.py
"""

import timeit
from functools import partial

from skerry.api.model import ObjectMeta
from skerry.api.rbac_v1 import ClusterRoleBinding, RoleBinding, RoleRef, Subject
from skerry.api.registry import KINDS
from skerry.server.access import Act
from skerry.server.auth import ADMINISTRATORS, AUTHENTICATED, User
from skerry.server.authorization.defaults import default_bindings, default_roles
from skerry.server.authorization.index import RbacIndex

ROUNDS = 20_000
REPEATS = 7
USERS = 10_000

GET = Act("get", "", "configmaps", namespace="shop", name="c")
SECRET = Act("get", "", "secrets", namespace="shop", name="s")


def filled() -> RbacIndex:
    """The default roles, and a binding to `edit` in each of 10,000 namespaces, for a user each."""
    index = RbacIndex()
    for role in default_roles(KINDS):
        index.put_role(role)
    for binding in default_bindings():
        index.put_binding(binding)
    for number in range(USERS):
        bind(index, f"user-{number}", "edit", f"team-{number}")
    bind(index, "alice", "edit", "shop")
    bind(index, "bob", "view", "shop")
    bind(index, "root", "cluster-admin", "")
    return index


def bind(index: RbacIndex, user: str, role: str, namespace: str) -> None:
    make = RoleBinding if namespace else ClusterRoleBinding
    subjects = [Subject(kind="User", name=user)]
    meta = ObjectMeta(name=user, namespace=namespace or None)
    index.put_binding(make(metadata=meta, subjects=subjects, role_ref=RoleRef(kind="ClusterRole", name=role)))


def main() -> None:
    index = filled()
    many = tuple(f"group-{number}" for number in range(20))
    cases = (
        ("cluster-admin by a binding", User("root", groups=(AUTHENTICATED,)), GET),
        ("edit, in its namespace", User("alice", groups=(AUTHENTICATED,)), GET),
        ("edit, in its namespace, 20 groups", User("alice", groups=(*many, AUTHENTICATED)), GET),
        ("view, refused a secret", User("bob", groups=(AUTHENTICATED,)), SECRET),
        ("nobody, refused", User("eve", groups=(AUTHENTICATED,)), GET),
        ("discovery", User("eve", groups=(AUTHENTICATED,)), Act("get", path="/apis/x/v1")),
    )
    print(f"{USERS:,} users in {USERS:,} namespaces; {ADMINISTRATORS} is not looked up at all")
    for told, user, act in cases:
        seconds = min(timeit.repeat(partial(index.decide, user, act), number=ROUNDS, repeat=REPEATS))
        outcome = "allowed" if index.decide(user, act) else "refused"
        print(f"{told:<36} {outcome}  {seconds * 1e6 / ROUNDS:5.2f} µs")


if __name__ == "__main__":
    main()
