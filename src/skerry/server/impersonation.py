"""Acting as someone else: the `Impersonate-*` headers, and what whoever speaks for a user has to be allowed.

One rule for every way of speaking for another: who sends the headers, and who makes a credential, needs the verb
`impersonate` on the user, on each group, and on all else that is told of the user. Rules and words:
k8s.io/apiserver, filters/impersonation.go.
"""

import urllib.parse
from collections.abc import Iterator, Sequence

from skerry.api.core_service_account_v1 import account_groups
from skerry.api.errors import BadRequest
from skerry.server.access import Access, Act, require
from skerry.server.auth import ANONYMOUS, User, authenticated

_PREFIX, _EXTRA = b"impersonate-", b"impersonate-extra-"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION = "authentication.k8s.io"
#: Headers of one request; more than anyone's groups, and a bound for the questions that they raise.
HEADERS_MAX = 128


def impersonated(user: User, headers: Sequence[tuple[bytes, bytes]], access: Access) -> User | None:
    """Return whom a request acts as; None where it acts as its own user.

    Args:
        user: who asks.
        headers: of the request, names in lower case.
        access: says whether the user may.

    Raises:
        BadRequest: the headers name no user, or are too many.
        Forbidden: the user may not act as that one.
    """
    given = [(name, value.decode("latin-1")) for name, value in headers if name.startswith(_PREFIX)]
    if not given:
        return None
    wanted = _user(given)
    for act in impersonation_acts(wanted):
        require(access, user, act)
    if wanted.name == ANONYMOUS.name:
        return ANONYMOUS
    if not wanted.groups and (place := _service_account(wanted.name)):
        wanted = User(wanted.name, wanted.uid, account_groups(place[0]), wanted.extra)
    return authenticated(wanted)


def _user(given: Sequence[tuple[bytes, str]]) -> User:
    if len(given) > HEADERS_MAX:
        raise BadRequest(f"the request has {len(given)} Impersonate headers; at most {HEADERS_MAX} are read")
    name, uid, groups = "", "", []
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in given:
        match header:
            case b"impersonate-user":
                name = value
            case b"impersonate-uid":
                uid = value
            case b"impersonate-group":
                groups.append(value)
            case _ if header.startswith(_EXTRA):
                key = urllib.parse.unquote(header.removeprefix(_EXTRA).decode("latin-1"))
                extra[key] = (*extra.get(key, ()), value)
            case _:
                raise BadRequest(f"the header {header.decode('latin-1')!r} is none that Kubernetes knows")
    if not name:
        raise BadRequest("the request has Impersonate headers without Impersonate-User")
    return User(name, uid, tuple(groups), extra)


def impersonation_acts(user: User) -> Iterator[Act]:
    """Yield everything that someone has to be allowed who speaks for a user."""
    if place := _service_account(user.name):
        yield Act("impersonate", resource="serviceaccounts", namespace=place[0], name=place[1])
    else:
        yield Act("impersonate", resource="users", name=user.name)
    for group in user.groups:
        yield Act("impersonate", resource="groups", name=group)
    if user.uid:
        yield Act("impersonate", _AUTHENTICATION, "uids", name=user.uid)
    for key, values in user.extra.items():
        for value in values:
            yield Act("impersonate", _AUTHENTICATION, "userextras", subresource=key, name=value)


def _service_account(name: str) -> tuple[str, str] | None:
    """Return the namespace and name in the user name of a service account; None for any other user."""
    namespace, colon, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return (namespace, account) if name.startswith(_SERVICE_ACCOUNT) and colon and namespace and account else None
