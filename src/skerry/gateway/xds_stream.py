"""One delta ADS stream: what this Envoy asked for, was sent, holds and refused. Pure bookkeeping, no I/O.

Each response carries one resource. So a NACK names exactly what is bad, and everything else applies; Envoy would
reject whole route tables together if they came together. The order of the responses is the order of application.

Source: Envoy's "xDS REST and gRPC protocol", sections on the incremental variant.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource

from skerry.gateway.snapshot import LISTENER_TYPE, PUSH_ORDER, WILDCARD_TYPES, Snapshot, Users, XdsResource

_Key = tuple[str, str]

#: The version of a resource that does not exist.
_ABSENT = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A resource that Envoy refused.

    Attributes:
        type_url: its type.
        name: its name.
        version: the refused version; what Envoy had before keeps serving.
        message: Envoy's own words.
        pending: whether nothing is decided yet (`proven.py`), and no more than that is told.
    """

    type_url: str
    name: str
    version: str
    message: str
    pending: bool = False


class Stream:
    """The state of one stream."""

    def __init__(self) -> None:
        self._nonces = itertools.count(1)
        self._subscribed: dict[str, set[str]] = {}
        self._greeted: set[str] = set()
        self._offered: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._held: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._refused: dict[_Key, Rejection] = {}
        self._flying: dict[str, tuple[_Key, str]] = {}

    def receive(self, request: DeltaDiscoveryRequest) -> None:
        """Take a request: subscriptions, and the answer to a response."""
        type_url = request.type_url
        self._acknowledge(request)
        first = type_url not in self._subscribed
        names = self._subscribed.setdefault(type_url, set())
        for name in request.resource_names_subscribe:
            names.add(name)
            self._forget((type_url, name))  # a name that is asked for again is sent again
        for name in request.resource_names_unsubscribe:
            names.discard(name)
            self._forget((type_url, name))
        if first:
            for name, version in request.initial_resource_versions.items():
                self._offered[type_url][name] = self._held[type_url][name] = version

    def _acknowledge(self, request: DeltaDiscoveryRequest) -> None:
        if request.response_nonce not in self._flying:
            return
        key, version = self._flying.pop(request.response_nonce)
        if request.HasField("error_detail"):
            self._refused[key] = Rejection(*key, version, request.error_detail.message)
            return
        self._refused.pop(key, None)
        type_url, name = key
        if version == _ABSENT:
            self._held[type_url].pop(name, None)
        else:
            self._held[type_url][name] = version

    def _forget(self, key: _Key) -> None:
        type_url, name = key
        if name != "*":
            self._offered[type_url].pop(name, None)
            self._held[type_url].pop(name, None)
            self._refused.pop(key, None)

    def due(self, snapshot: Snapshot) -> Iterator[DeltaDiscoveryResponse]:
        """Yield what Envoy lacks of a snapshot, one resource a response: additions in order, then removals.

        Each yielded response counts as sent. What was refused is not sent again until it changes or `retry` is called.
        """
        for type_url in PUSH_ORDER:
            if type_url in self._subscribed:
                yield from self._additions(type_url, snapshot)
        for type_url in reversed(PUSH_ORDER):
            if type_url in WILDCARD_TYPES:
                for key in self._gone(type_url, snapshot):
                    yield self._response(key, None)

    def _additions(self, type_url: str, snapshot: Snapshot) -> Iterator[DeltaDiscoveryResponse]:
        present = snapshot.resources[type_url]
        offered = self._offered[type_url]
        changed = [each for each in present.values() if offered.get(each.name) != each.version]
        for resource in changed:
            key = (type_url, resource.name)
            if self._wants(key):
                yield self._response(key, resource)
        if type_url in WILDCARD_TYPES:
            if type_url not in self._greeted:
                # Nothing to send is an answer too: without one Envoy waits for its timeout of 15 s before it goes on.
                self._greeted.add(type_url)
                yield DeltaDiscoveryResponse(type_url=type_url, nonce=str(next(self._nonces)))
            return
        for name in sorted(self._subscribed[type_url] - present.keys()):
            # Asked for and not there: say so, or Envoy waits for it until its own timeout.
            if name not in offered:
                yield self._response((type_url, name), None)

    def _gone(self, type_url: str, snapshot: Snapshot) -> list[_Key]:
        offered = self._offered[type_url]
        gone = offered.keys() - snapshot.resources[type_url].keys()
        return [(type_url, name) for name in sorted(gone) if offered[name] != _ABSENT]

    def _wants(self, key: _Key) -> bool:
        names = self._subscribed.get(key[0])
        return names is not None and (key[0] in WILDCARD_TYPES or key[1] in names)

    def _response(self, key: _Key, resource: XdsResource | None) -> DeltaDiscoveryResponse:
        self._greeted.add(key[0])
        nonce = str(next(self._nonces))
        version = resource.version if resource else _ABSENT
        self._offered[key[0]][key[1]] = version
        self._flying[nonce] = (key, version)
        response = DeltaDiscoveryResponse(type_url=key[0], nonce=nonce)
        if resource:
            response.resources.append(Resource(name=key[1], version=version, resource=resource.body))
        else:
            response.removed_resources.append(key[1])
        return response

    def retry(self) -> None:
        """Offer refused listeners again: a port may have become free since. Nothing else changes by waiting.

        One whose last offer is not answered yet is not offered twice: the answer tells whether it needs to be.
        """
        unanswered = {key for key, _version in self._flying.values()}
        for key in self._refused.keys() - unanswered:
            if key[0] == LISTENER_TYPE:
                self._offered[LISTENER_TYPE].pop(key[1], None)

    def is_settled(self, snapshot: Snapshot) -> bool:
        """Tell whether Envoy has taken or refused everything of a snapshot that it needs."""
        if self._flying:
            return False
        for type_url, present in snapshot.resources.items():
            held = self._held[type_url]
            untaken = [each for each in present.values() if held.get(each.name) != each.version]
            if not all(self._is_answered(each, snapshot.users) for each in untaken):
                return False
        return not any(self._gone(type_url, snapshot) for type_url in WILDCARD_TYPES)

    def _is_answered(self, resource: XdsResource, users: Users) -> bool:
        """Tell whether Envoy refused what it has not taken, or does not need it."""
        key = (resource.type_url, resource.name)
        refused = self._refused.get(key)
        if refused and refused.version == resource.version:
            return True
        # Envoy asks for route tables, secrets and plugins only once it has taken a listener that names them.
        needed = resource.type_url in WILDCARD_TYPES or any(
            (LISTENER_TYPE, user) not in self._refused for user in users.get(key, ())
        )
        return not needed and not self._wants(key)

    def rejections(self) -> tuple[Rejection, ...]:
        """What Envoy refused and has not taken since, by type and name."""
        return tuple(self._refused[key] for key in sorted(self._refused))

    def statistics(self) -> dict[str, int]:
        """Return how many resources are held, refused and unanswered."""
        return {"held": sum(map(len, self._held.values())), "refused": len(self._refused), "flying": len(self._flying)}
