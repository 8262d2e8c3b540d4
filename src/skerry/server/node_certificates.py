"""Certificates of the nodes of a fleet: common name `<namespace>.<node>`, as Baetyl's agents and clouds have it.

Baetyl's own cloud takes any certificate and believes its common name. Here TLS lets in only what our authority signed,
and each request looks at the node itself: a certificate holds while that very node (its uid is in the certificate)
exists and its certificates are not revoked (`status.certificatesAfter`). A node of a deleted node's name is another
one. Does not own who gets a certificate (`baetyl.activation`, `baetyl.install`).
"""

import datetime as dt
from dataclasses import dataclass

from skerry.api.baetyl_v1alpha1 import NODE, Node
from skerry.api.errors import NotFound
from skerry.api.model import Document
from skerry.kit.clock import Clock, from_rfc3339
from skerry.server.auth import BAETYL_NODES, ClientCertificate, Credentials, User, authenticated
from skerry.server.client_certificates import issue_client_certificate
from skerry.server.readings import Readings
from skerry.server.tls import CERTIFICATE_DAYS, CLOCK_SKEW, Authority
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

#: How the name of a node begins, among users.
_USER_PREFIX = "system:baetyl-node:"
_URI_PREFIX = "urn:uuid:"
#: X.509's own limit of a common name.
COMMON_NAME_CHARACTERS_MAX = 64
#: Nodes whose standing is at hand, some 300 bytes each: those that report to one control plane.
NODES_REMEMBERED = 20_000

Place = tuple[str, str]
"""Namespace and name of a node."""


def common_name(namespace: str, name: str) -> str:
    """Return the common name of a node's certificate."""
    return f"{namespace}.{name}"


def node_of(user: User) -> Place | None:
    """Return the node that a user is; None where it is none."""
    if BAETYL_NODES not in user.groups or not user.name.startswith(_USER_PREFIX):
        return None
    namespace, _, name = user.name.removeprefix(_USER_PREFIX).partition(".")
    return namespace, name


def issue_node_certificate(authority: Authority, node: Node, now: dt.datetime) -> tuple[bytes, bytes]:
    """Make a key and a certificate for a node; returns both as PEM, the certificate first.

    Raises:
        ValueError: its names do not fit into a certificate.
    """
    revoked = node.status.certificates_after
    # Times in certificates are whole seconds: one that is made in the second of a revocation is of the next one.
    start = max(now, from_rfc3339(revoked) + dt.timedelta(seconds=1)) if revoked else now
    life = (start, start + dt.timedelta(days=CERTIFICATE_DAYS))
    name = common_name(node.namespace, node.name)
    return issue_client_certificate(authority, name, [BAETYL_NODES], life, uri=_URI_PREFIX + node.uid)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What decides whether the certificates of a node hold."""

    uid: str
    is_going: bool
    certificates_after: str | None

    @classmethod
    def read(cls, document: Document) -> "_Standing":
        metadata, status = document["metadata"], document.get("status") or {}
        return cls(metadata["uid"], "deletionTimestamp" in metadata, status.get("certificatesAfter"))


class NodeCertificates:
    """An `Authenticator` for the certificates of nodes.

    Args:
        verbs: where nodes are read.
        clock: tells whether a certificate has ended.
    """

    def __init__(self, verbs: Verbs, clock: Clock) -> None:
        self._verbs = verbs
        self._clock = clock
        self._nodes = Readings[_Standing](NODES_REMEMBERED)

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the node that a certificate stands for; see `Authenticator`."""
        shown = credentials.certificate
        if shown is None or BAETYL_NODES not in shown.user.groups or self._clock.now() >= shown.ends:
            return None
        namespace, _, name = shown.user.name.partition(".")
        if not (namespace and name):
            return None
        target = Target(NODE, namespace, name)
        try:
            stored = await self._verbs.get(target)
        except NotFound:
            return None
        node = self._nodes.of(target, stored, _Standing.read)
        if shown.uri != _URI_PREFIX + node.uid or node.is_going or _is_revoked(shown, node.certificates_after):
            return None
        return _user(shown)


def _user(shown: ClientCertificate) -> User:
    # The only group is that of nodes: whoever else is named in the certificate has nothing to do with this request.
    return authenticated(User(_USER_PREFIX + shown.user.name, groups=(BAETYL_NODES,), extra=shown.user.extra))


def _is_revoked(shown: ClientCertificate, after: str | None) -> bool:
    """Tell whether a certificate was made no later than the moment from which on they count."""
    return after is not None and shown.begins + CLOCK_SKEW <= from_rfc3339(after)
