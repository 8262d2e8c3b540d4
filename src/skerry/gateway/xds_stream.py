"""One delta ADS stream: what this Envoy asked for, was sent, holds and refused. Pure bookkeeping, no I/O.

Each response carries one resource. So a NACK names exactly what is bad, and everything else applies; Envoy would
reject whole route tables together if they came together. The order of the responses is the order of application.

Source: Envoy's "xDS REST and gRPC protocol", sections on the incremental variant.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource

from skerry.gateway.snapshot import LISTENER_TYPE, PUSH_ORDER, WILDCARD_TYPES, Snapshot, XdsResource
from skerry.kit.immutable_map import ImmutableMap

_Key = tuple[str, str]

#: What of Envoy's words is kept.
MESSAGE_CHARACTERS_MAX = 4096
#: A message as text, between what was done and what is wrong with it; a line break in it is written otherwise.
_DUMP = re.compile(r"goo\.gle/debug(?:.*(?P<end>\n: )|.*)", re.DOTALL)
#: Where Envoy has cut off the end of a long one, and with it what is wrong.
_CUT = "the proxy refuses it, and its answer is too long to tell why: see envoy.log"

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


def told(message: str) -> str:
    """Return what Envoy says of a refusal, without the message that it refused: headers and keys may be secret."""
    short = _DUMP.sub(lambda dump: "" if dump["end"] else _CUT, message)
    return short.strip()[:MESSAGE_CHARACTERS_MAX] or _CUT


class Stream:
    """The state of one stream."""

    def __init__(self) -> None:
        self._nonces = itertools.count(1)
        self._subscribed: dict[str, set[str]] = {}
        self._greeted: set[str] = set()
        self._offered: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._held: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._refused: dict[_Key, Rejection] = {}
        #: By type, what was looked at last, and the names of what Envoy does not hold as it is there.
        self._seen: dict[str, ImmutableMap[str, XdsResource]] = {}
        self._lacking: defaultdict[str, set[str]] = defaultdict(set)
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
                self._lacking[type_url].add(name)

    def _acknowledge(self, request: DeltaDiscoveryRequest) -> None:
        if request.response_nonce not in self._flying:
            return
        key, version = self._flying.pop(request.response_nonce)
        if request.HasField("error_detail"):
            self._refused[key] = Rejection(*key, version, told(request.error_detail.message))
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
            self._lacking[type_url].add(name)

    def due(self, snapshot: Snapshot) -> Iterator[DeltaDiscoveryResponse]:
        """Yield what Envoy lacks of a snapshot, one resource a response: additions in order, then removals.

        Each yielded response counts as sent. What was refused is not sent again until it changes or `retry` is called.
        """
        self._look(snapshot)
        for type_url in PUSH_ORDER:
            if type_url in self._subscribed:
                yield from self._additions(type_url, snapshot)
        for type_url in reversed(PUSH_ORDER):
            if type_url in WILDCARD_TYPES:
                for name in sorted(self._lacking[type_url]):
                    if self._is_to_go(type_url, name, snapshot):
                        yield self._response((type_url, name), None)

    def _look(self, snapshot: Snapshot) -> None:
        """Note what Envoy lacks of a snapshot; what it does not lack, and has not changed since, is not looked at."""
        for type_url, present in snapshot.resources.items():
            seen = self._seen.get(type_url)
            if present is not seen:
                changes = present.changes_since(seen if seen is not None else ImmutableMap())
                self._lacking[type_url] |= changes.keys
                self._seen[type_url] = present
            self._lacking[type_url] = {
                name for name in self._lacking[type_url] if self._lacks(type_url, name, present.get(name))
            }

    def _lacks(self, type_url: str, name: str, resource: XdsResource | None) -> bool:
        version = resource.version if resource else _ABSENT
        if self._held[type_url].get(name, _ABSENT) != version:
            return True
        is_asked_for = type_url not in WILDCARD_TYPES and self._wants((type_url, name))
        return self._offered[type_url].get(name, None if is_asked_for else _ABSENT) != version

    def _additions(self, type_url: str, snapshot: Snapshot) -> Iterator[DeltaDiscoveryResponse]:
        present, offered = snapshot.resources[type_url], self._offered[type_url]
        for name in sorted(self._lacking[type_url]):
            key, resource = (type_url, name), present.get(name)
            if resource is not None:
                is_due = offered.get(name) != resource.version
            else:
                # Asked for and not there: say so, or Envoy waits for it until its own timeout.
                is_due = type_url not in WILDCARD_TYPES and name not in offered
            if is_due and self._wants(key):
                yield self._response(key, resource)
        if type_url in WILDCARD_TYPES and type_url not in self._greeted:
            # Nothing to send is an answer too: without one Envoy waits for its timeout of 15 s before it goes on.
            self._greeted.add(type_url)
            yield DeltaDiscoveryResponse(type_url=type_url, nonce=str(next(self._nonces)))

    def _is_to_go(self, type_url: str, name: str, snapshot: Snapshot) -> bool:
        """Tell whether Envoy was offered what it shall not have any more."""
        is_offered = self._offered[type_url].get(name, _ABSENT) != _ABSENT
        return is_offered and name not in snapshot.resources[type_url]

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
        self._look(snapshot)
        return all(
            self._is_answered(type_url, name, snapshot)
            for type_url in snapshot.resources
            for name in self._lacking[type_url]
        )

    def _is_answered(self, type_url: str, name: str, snapshot: Snapshot) -> bool:
        """Tell whether Envoy refused what it has not taken, or does not need it."""
        key, resource = (type_url, name), snapshot.resources[type_url].get(name)
        if resource is None:
            return type_url not in WILDCARD_TYPES or not self._is_to_go(type_url, name, snapshot)
        refused = self._refused.get(key)
        if refused and refused.version == resource.version:
            return True
        # Envoy asks for route tables, secrets and plugins only once it has taken a listener that names them.
        needed = type_url in WILDCARD_TYPES or any(
            (LISTENER_TYPE, user) not in self._refused for user in snapshot.users.get(key, ())
        )
        return not needed and not self._wants(key)

    def rejections(self) -> tuple[Rejection, ...]:
        """What Envoy refused and has not taken since, by type and name."""
        return tuple(self._refused[key] for key in sorted(self._refused))

    def statistics(self) -> dict[str, int]:
        """Return how many resources are held, refused and unanswered."""
        return {"held": sum(map(len, self._held.values())), "refused": len(self._refused), "flying": len(self._flying)}
