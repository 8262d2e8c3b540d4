"""The slices of nodes as the log stands: followed on every replica, once the first node asks.

Owns what is followed, and who is told when. Does not own what leads to what (`fleet.slices`), what a node is shown of
an object (`fleet.slice_objects`), nor which Gateways a node runs (`fleet`).

Invariant: a node is shown what its slice holds, and nothing else; what it was told last and what is there now decide
alone what it is told next, so a slow reader misses states in between, and never the last.
"""

from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import orjson

from skerry.api.apoxy_core_v1alpha2 import BACKEND
from skerry.api.apoxy_extensions_direct_response import DIRECT_RESPONSE
from skerry.api.core_v1 import NAMESPACE, SECRET
from skerry.api.egress_policy_v1alpha1 import EGRESS_POLICY
from skerry.api.errors import NotFound, ServiceUnavailable
from skerry.api.extensions_v1alpha2 import (
    EDGE_FUNCTION,
    EDGE_FUNCTION_REVISION,
    FUNCTION_LABEL,
    EdgeFunctionRevision,
)
from skerry.api.gateway_http_route_v1 import HTTP_ROUTE
from skerry.api.gateway_v1 import GATEWAY, GATEWAY_CLASS
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN
from skerry.api.istio_request_authentication_v1 import REQUEST_AUTHENTICATION
from skerry.api.kinds import Kind
from skerry.api.model import Resource
from skerry.api.registry import KINDS
from skerry.fleet.slice_objects import Shown, shown
from skerry.fleet.slices import Key, Ref, SliceIndex
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Loops, Wakeup
from skerry.server.baetyl.delivery import Place
from skerry.server.baetyl.fleet import Fleet
from skerry.server.following import Follower
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs
from skerry.server.verbs.withheld import told

log = get_logger(__name__)

#: Of one slice; the node's Envoy and engine have bounds of their own.
SLICE_OBJECTS_MAX = 5000
#: A node hears something at least so often, and its slice is looked at again whether or not anything was noticed.
SILENCE_SECONDS = 20.0
#: Objects as nodes see them that are at hand: many nodes are told of the same change at once.
SHOWN_MAX = 4096
SHOWN_BYTES_MAX = 32 * 1024 * 1024

_ATTACHED: tuple[Kind[Any], ...] = (WASM_PLUGIN, REQUEST_AUTHENTICATION, AUTHORIZATION_POLICY)
_NAMED: tuple[Kind[Any], ...] = (GATEWAY_CLASS, SECRET, NAMESPACE, BACKEND, DIRECT_RESPONSE)
_KINDS = {kind.resource: kind for kind in KINDS}


class Slices:
    """Tells nodes of their slices.

    Args:
        verbs: read objects.
        fleet: knows which Gateways each node runs.
        root_namespace: plugins and policies of this namespace apply to Gateways of every namespace.
    """

    def __init__(self, verbs: Verbs, fleet: Fleet, root_namespace: str) -> None:
        self._verbs = verbs
        self._fleet = fleet
        self._index = SliceIndex(root_namespace)
        self._shown: OrderedDict[Ref, tuple[int, Shown]] = OrderedDict()
        self._shown_bytes = 0
        self._by_gateway: defaultdict[Key, set[Wakeup]] = defaultdict(set)
        self._by_node: defaultdict[Place, set[Wakeup]] = defaultdict(set)
        self._loops = Loops()
        self._is_following = False
        self._followers = self._made_followers()

    def _made_followers(self) -> tuple[Follower[Any], ...]:
        index = self._index

        def following(
            kind: Kind[Any], put: Callable[[Any], set[Key]], drop: Callable[[Key], set[Key]]
        ) -> Follower[Any]:
            return Follower(kind, lambda obj: self._tell(put(obj)), lambda key: self._tell(drop(key)))

        def attached(kind: Kind[Any]) -> Follower[Any]:
            return following(
                kind,
                lambda obj: index.put_attached(_ref(kind, obj), obj.spec),
                lambda key: index.drop_attached(Ref(kind.resource, *key)),
            )

        def named(kind: Kind[Any]) -> Follower[Any]:
            return following(
                kind,
                lambda obj: index.leading_to(_ref(kind, obj)),
                lambda key: index.leading_to(Ref(kind.resource, *key)),
            )

        return (
            following(GATEWAY, index.put_gateway, index.drop_gateway),
            following(HTTP_ROUTE, index.put_route, index.drop_route),
            following(EDGE_FUNCTION, index.put_function, lambda key: index.drop_function(key[1])),
            following(EDGE_FUNCTION_REVISION, lambda obj: index.leading_to(_function_of(obj)), lambda _: set()),
            following(
                EGRESS_POLICY,
                lambda obj: index.put_everywhere(_ref(EGRESS_POLICY, obj)),
                lambda key: index.drop_everywhere(Ref(EGRESS_POLICY.resource, *key)),
            ),
            *map(attached, _ATTACHED),
            *map(named, _NAMED),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be ready to tell nodes, for the length of the block."""
        self._fleet.on_change(self._wake_nodes)
        async with self._loops.running():
            yield

    async def _followed(self) -> None:
        """Follow the log, from the first call on, and wait until all that there is has been taken."""
        if not self._is_following:
            self._is_following = True
            for follower in self._followers:
                self._loops.start(f"slices:{follower.kind.plural}", partial(follower.run, self._verbs))
        for follower in self._followers:
            await follower.synced()

    @asynccontextmanager
    async def opened(self, place: Place, known: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Tell a node what its slice is, and how it changes, for the length of the block; yields lines of JSON.

        Args:
            place: the node.
            known: what it has: versions by key (`str(Ref)`).

        Raises:
            ServiceUnavailable: the slice has more than `SLICE_OBJECTS_MAX` objects.
        """
        await self._followed()
        self._members(place)  # where it is too large, that is the answer
        async with aclosing(self._lines(place, dict(known))) as lines:
            yield lines

    async def _lines(self, place: Place, has: dict[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield what makes the slice of what the node has, and a bookmark once it is all told; and so on."""
        wakeup = Wakeup()
        while True:
            gateways = self._gateways_of(place)
            with self._woken(wakeup, place, gateways):
                found = {str(ref): each for ref, each in (await self._read(place)).items()}
                for key in sorted(found.keys() | has.keys()):
                    if key not in found:
                        del has[key]
                        yield b'{"type":"DELETED","key":%s}\n' % orjson.dumps(key)
                    elif has.get(key) != found[key].version:
                        has[key] = found[key].version
                        yield _line(key, found[key])
                yield b'{"type":"BOOKMARK"}\n'
                await wakeup.wait(SILENCE_SECONDS)

    async def holds_code(self, place: Place, digest: str) -> bool:
        """Tell whether an object of a node's slice brings code."""
        await self._followed()
        return any(each.digest == digest for each in (await self._read(place)).values())

    async def holds(self, place: Place, keys: Iterable[str]) -> list[str]:
        """Return those of some keys whose objects are in a node's slice."""
        await self._followed()
        members = {str(ref) for ref in self._members(place)}
        return [key for key in keys if key in members]

    def _gateways_of(self, place: Place) -> tuple[Key, ...]:
        return tuple((place[0], name) for name in self._fleet.index.desire(place).gateways)

    def _members(self, place: Place) -> set[Ref]:
        members = self._index.members(self._gateways_of(place))
        if len(members) > SLICE_OBJECTS_MAX:
            raise ServiceUnavailable(
                f"the slice of node {'/'.join(place)} has {len(members)} objects, and may have {SLICE_OBJECTS_MAX}: "
                "have its Gateways lead to fewer functions and routes"
            )
        return members

    async def _read(self, place: Place) -> dict[Ref, Shown]:
        """Return the objects of a slice that are there."""
        found = {ref: await self._show(ref) for ref in self._members(place)}
        return {ref: each for ref, each in found.items() if each is not None}

    async def _show(self, ref: Ref) -> Shown | None:
        kind = _KINDS[ref.resource]
        try:
            stored = await self._verbs.get(Target(kind, ref.namespace, ref.name))
        except NotFound:
            return None
        known = self._shown.get(ref)
        if known is not None and known[0] == stored.revision:
            self._shown.move_to_end(ref)
            return known[1]
        made = shown(ref.resource, told(kind, stored).document)
        self._keep(ref, stored.revision, made)
        return made

    def _keep(self, ref: Ref, revision: int, made: Shown) -> None:
        before = self._shown.pop(ref, None)
        self._shown_bytes += len(made.content) - (len(before[1].content) if before else 0)
        self._shown[ref] = (revision, made)
        while len(self._shown) > SHOWN_MAX or self._shown_bytes > SHOWN_BYTES_MAX:
            _, (_, oldest) = self._shown.popitem(last=False)
            self._shown_bytes -= len(oldest.content)

    @contextmanager
    def _woken(self, wakeup: Wakeup, place: Place, gateways: Sequence[Key]) -> Iterator[None]:
        """Have a wake-up set at what changes the slice of these Gateways, for the length of the block."""
        held = [(self._by_node, place), *((self._by_gateway, gateway) for gateway in gateways)]
        for wakeups, key in held:
            wakeups[key].add(wakeup)
        try:
            yield
        finally:
            for wakeups, key in held:
                wakeups[key].discard(wakeup)
                if not wakeups[key]:
                    del wakeups[key]

    def _tell(self, gateways: set[Key]) -> None:
        for gateway in gateways & self._by_gateway.keys():
            for wakeup in self._by_gateway[gateway]:
                wakeup.set()

    def _wake_nodes(self, places: set[Place]) -> None:
        for place in places & self._by_node.keys():
            for wakeup in self._by_node[place]:
                wakeup.set()

    def statistics(self) -> dict[str, int]:
        """Return how much is followed, and how much is at hand."""
        streams = sum(map(len, self._by_node.values()))
        return {**self._index.statistics(), "streams": streams, "shown": len(self._shown), "bytes": self._shown_bytes}


def _ref(kind: Kind[Any], obj: Resource) -> Ref:
    return Ref(kind.resource, obj.namespace, obj.name)


def _function_of(revision: EdgeFunctionRevision) -> Ref:
    return Ref(EDGE_FUNCTION.resource, "", (revision.metadata.labels or {}).get(FUNCTION_LABEL, ""))


def _line(key: str, each: Shown) -> bytes:
    head = orjson.dumps({"type": "MODIFIED", "key": key, "version": each.version})
    return b'%s,"object":%s}\n' % (head[:-1], each.content)
