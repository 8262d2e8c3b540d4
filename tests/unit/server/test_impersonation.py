"""The Impersonate headers: whom they name, and what they ask of who sends them."""

from collections.abc import Callable, Sequence

import pytest

from skerry.api.errors import BadRequest, Forbidden
from skerry.server.access import Act, Decision, Held
from skerry.server.auth import ANONYMOUS, AUTHENTICATED, User
from skerry.server.impersonation import HEADERS_MAX, impersonated

ALICE = User("alice")


class Answers:
    """An `Access` that answers by a rule, and remembers what it was asked."""

    def __init__(self, allows: Callable[[Act], bool]) -> None:
        self.asked: list[Act] = []
        self._allows = allows

    def decide(self, user: User, act: Act) -> Decision:
        assert user == ALICE
        self.asked.append(act)
        return Decision(self._allows(act))

    def held_by(self, user: User, namespace: str) -> Held:
        raise AssertionError((user, namespace))


ANYTHING = Answers(lambda _: True)


def headers(*given: tuple[str, str]) -> Sequence[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), *((name.encode(), value.encode()) for name, value in given)]


def test_without_headers_nobody_is_acted_as() -> None:
    assert impersonated(ALICE, headers(), Answers(lambda _: False)) is None


def test_everything_that_is_told_is_asked_for() -> None:
    access = Answers(lambda _: True)
    given = headers(
        ("impersonate-user", "bob"),
        ("impersonate-group", "g1"),
        ("impersonate-group", "g2"),
        ("impersonate-uid", "7"),
        ("impersonate-extra-example.com%2fscope", "a"),
        ("impersonate-extra-example.com%2fscope", "b"),
    )
    extra = {"example.com/scope": ("a", "b")}
    assert impersonated(ALICE, given, access) == User("bob", "7", ("g1", "g2", AUTHENTICATED), extra)
    group = "authentication.k8s.io"
    assert access.asked == [
        Act("impersonate", resource="users", name="bob"),
        Act("impersonate", resource="groups", name="g1"),
        Act("impersonate", resource="groups", name="g2"),
        Act("impersonate", group, "uids", name="7"),
        Act("impersonate", group, "userextras", subresource="example.com/scope", name="a"),
        Act("impersonate", group, "userextras", subresource="example.com/scope", name="b"),
    ]


def test_a_service_account_is_one_of_its_namespace() -> None:
    access = Answers(lambda _: True)
    found = impersonated(ALICE, headers(("impersonate-user", "system:serviceaccount:ns:builder")), access)
    assert found is not None
    assert found.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", AUTHENTICATED)
    assert access.asked == [Act("impersonate", resource="serviceaccounts", namespace="ns", name="builder")]


def test_nobody_acted_as_is_nobody() -> None:
    assert impersonated(ALICE, headers(("impersonate-user", "system:anonymous")), ANYTHING) == ANONYMOUS


def test_what_may_not_be_acted_as_is_refused() -> None:
    access = Answers(lambda act: act.resource == "users")
    refused = 'groups "system:masters" is forbidden: User "alice" cannot impersonate resource "groups" in API group ""'
    with pytest.raises(Forbidden, match=refused):
        impersonated(ALICE, headers(("impersonate-user", "bob"), ("impersonate-group", "system:masters")), access)


@pytest.mark.parametrize(
    "given",
    [
        [("impersonate-group", "system:masters")],
        [("impersonate-user", "")],
        [("impersonate-user", "bob"), ("impersonate-nothing", "x")],
        [("impersonate-user", "bob"), *[("impersonate-group", "g")] * HEADERS_MAX],
    ],
)
def test_headers_that_can_not_be_meant_are_refused(given: list[tuple[str, str]]) -> None:
    with pytest.raises(BadRequest, match="mpersonate"):
        impersonated(ALICE, headers(*given), ANYTHING)
