"""The fleet as it stands: the binding index, fed by the log, on every replica.

Owns what is followed, and who waits for it. Does not own how applications are bound (`fleet.index`), nor what nodes are
told. It is a `Policy` of the verbs: what applications mount can't be deleted, and a write that was answered is bound,
whichever front door it came through.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from skerry.api.baetyl_applications import APPLICATION, Application
from skerry.api.baetyl_configurations import CONFIGURATION, Configuration
from skerry.api.baetyl_registration import PRODUCT, RECORD, Record
from skerry.api.baetyl_rollouts import ROLLOUT, Rollout
from skerry.api.baetyl_v1alpha1 import NODE, Connection, Node, connection_of
from skerry.api.core_v1 import SECRET, Secret
from skerry.api.gateway_v1 import GATEWAY, Gateway, node_selector_of
from skerry.api.selectors import SelectorError
from skerry.fleet.applications import facts_of, generated_configurations
from skerry.fleet.desire import is_behind
from skerry.fleet.index import FleetIndex, Key, Sort, Source
from skerry.fleet.record_counts import RecordCounts
from skerry.fleet.rollouts import shift_of
from skerry.kit.deadlines import within
from skerry.kit.tasks import background
from skerry.server.following import Follower
from skerry.server.verbs.admission import Change
from skerry.server.verbs.answers import forbidden
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

#: How long a node that has more than we know of waits for us to catch up; the log hands changes on in milliseconds.
CATCH_UP_SECONDS_MAX = 5.0
#: Names that a refusal tells; the rest are counted.
NAMED_MAX = 10

_SORTS: Mapping[str, Sort] = {CONFIGURATION.resource: "configuration", SECRET.resource: "secret"}


class Fleet:
    """Nodes, applications and what they mount, as of the log.

    Attributes:
        index: to be asked.
        records: likewise.
    """

    def __init__(self) -> None:
        self.index = FleetIndex()
        self.records = RecordCounts()
        #: Applications by the names of the configurations that are made of them.
        self._generated: dict[Key, str] = {}
        self._generated_of: dict[Key, tuple[str, ...]] = {}
        #: How each node is connected, by namespace and name.
        self._connections: dict[str, dict[str, Connection]] = {}
        #: What nodes are told besides what they are to run, for as long as the node is there.
        self._specs: dict[Key, int] = {}
        self._listeners: list[Callable[[set[Key]], None]] = []
        self._moved = asyncio.Event()
        followers: tuple[Follower[Any], ...] = (
            Follower(CONFIGURATION, self._put_configuration, partial(self._drop_source, "configuration")),
            Follower(SECRET, self._put_secret, partial(self._drop_source, "secret")),
            Follower(APPLICATION, self._put_application, self._drop_application),
            Follower(ROLLOUT, self._put_rollout, lambda key: self._tell(self.index.drop_shift(key))),
            Follower(GATEWAY, self._put_gateway, lambda key: self._tell(self.index.drop_gateway(key))),
            Follower(NODE, self._put_node, self._drop_node),
            Follower(PRODUCT, self.records.put_product, self.records.drop_product),
            Follower(RECORD, self.records.put_record, self.records.drop_record),
        )
        self._followers = {follower.kind.resource: follower for follower in followers}

    @asynccontextmanager
    async def running(self, verbs: Verbs) -> AsyncIterator[None]:
        """Follow the log for the length of the block; begins when all that there is has been taken."""
        followers = self._followers.values()
        async with background(*((f"fleet:{f.kind.plural}", partial(f.run, verbs)) for f in followers)):
            for follower in followers:
                await follower.synced()
            yield

    def on_change(self, listener: Callable[[set[Key]], None]) -> None:
        """Call `listener` with the nodes that are to be told something else, at every change; it must not block."""
        self._listeners.append(listener)

    def generated_by(self, key: Key) -> str:
        """Return the application that a configuration is made of, by namespace and name; "" where it is of none."""
        return self._generated.get(key, "")

    async def caught_up(self, node: Key, apps: Mapping[str, str], sysapps: Mapping[str, str]) -> None:
        """Wait until what is wanted of a node is not behind what it reports, or `CATCH_UP_SECONDS_MAX`.

        Another replica may have told it more than this one has read yet. A node that makes up versions waits in vain.

        Args:
            node: namespace and name.
            apps: what it has: versions by name.
            sysapps: likewise.
        """
        if not self._is_behind(node, apps, sysapps):
            return
        try:
            with within(CATCH_UP_SECONDS_MAX):
                while self._is_behind(node, apps, sysapps):
                    await self._moved.wait()
        except TimeoutError:
            return  # what we know is the whole truth by now

    def _is_behind(self, node: Key, apps: Mapping[str, str], sysapps: Mapping[str, str]) -> bool:
        desire = self.index.desire(node)
        return is_behind(desire.apps, apps) or is_behind(desire.sysapps, sysapps)

    def check(self, change: Change) -> None:
        """Refuse a record that somebody makes beyond the quota of its product; see `Policy`.

        What is made for nobody in particular has taken its room before (`registrar`).
        """
        if change.operation != "create" or change.target.kind is not RECORD or change.user is None:
            return
        record: Record = change.object
        if why := self.records.refusal((record.namespace, record.spec.batch_name)):
            raise forbidden(change.named_target, why)

    def check_delete(self, target: Target) -> None:
        """Refuse to delete what applications mount; see `Policy`."""
        if (sort := _SORTS.get(target.kind.resource)) is None:
            return
        if users := self.index.users_of(Source(sort, target.namespace, target.name)):
            more = f" and {len(users) - NAMED_MAX} more" if len(users) > NAMED_MAX else ""
            raise forbidden(target, f"it is used by the applications {', '.join(users[:NAMED_MAX])}{more}")

    async def in_force(self, target: Target, revision: int) -> None:
        """Wait until a write is bound; see `Policy`."""
        if (follower := self._followers.get(target.kind.resource)) is not None:
            await follower.reached(revision)

    def statistics(self) -> dict[str, int]:
        """Return how much there is, and the oldest place that one of the kinds is at."""
        return {**self.index.statistics(), "revision": min(f.position for f in self._followers.values())}

    def connections(self, namespace: str) -> Counter[Connection]:
        """Return how many nodes of a namespace are connected, and how."""
        return Counter(self._connections.get(namespace, {}).values())

    def _drop_node(self, key: Key) -> None:
        nodes = self._connections.get(key[0], {})
        nodes.pop(key[1], None)
        if not nodes:
            self._connections.pop(key[0], None)
        self._specs.pop(key, None)
        self._tell({key} | self.index.drop_node(key))

    def _put_node(self, node: Node) -> None:
        key = (node.namespace, node.name)
        self._connections.setdefault(node.namespace, {})[node.name] = connection_of(node)
        changed = self.index.put_node(key, node.metadata.labels or {})
        # Properties, how often it reports, and whether its certificates still hold: a number is enough to see a change.
        told = hash((node.uid, node.spec.model_dump_json(), node.status.certificates_after))
        before, self._specs[key] = self._specs.get(key, told), told
        self._tell(changed if before == told else changed | {key})

    def _put_application(self, application: Application) -> None:
        key = (application.namespace, application.name)
        self._generate(key, tuple(generated_configurations(application)))
        self._tell(self.index.put_application(key, facts_of(application)))

    def _drop_application(self, key: Key) -> None:
        self._generate(key, ())
        self._tell(self.index.drop_application(key))

    def _put_rollout(self, rollout: Rollout) -> None:
        self._tell(self.index.put_shift((rollout.namespace, rollout.name), shift_of(rollout)))

    def _put_gateway(self, gateway: Gateway) -> None:
        key = (gateway.namespace, gateway.name)
        try:
            selector = node_selector_of(gateway)
        except SelectorError:
            selector = None  # it was not taken by our own rules, and selects nothing
        self._tell(self.index.put_gateway(key, selector) if selector else self.index.drop_gateway(key))

    def _generate(self, key: Key, names: tuple[str, ...]) -> None:
        for name in self._generated_of.pop(key, ()):
            self._generated.pop((key[0], name), None)
        if names:
            self._generated_of[key] = names
            self._generated |= {(key[0], name): key[1] for name in names}

    def _put_configuration(self, config: Configuration) -> None:
        self._put_source(Source("configuration", config.namespace, config.name), config.metadata.resource_version)

    def _put_secret(self, secret: Secret) -> None:
        self._put_source(Source("secret", secret.namespace, secret.name), secret.metadata.resource_version)

    def _put_source(self, source: Source, version: str | None) -> None:
        self._tell(self.index.put_source(source, int(version or 0)))

    def _drop_source(self, sort: Sort, key: Key) -> None:
        self._tell(self.index.drop_source(Source(sort, *key)))

    def _tell(self, changed: set[Key]) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        if changed:
            for listener in self._listeners:
                listener(changed)
