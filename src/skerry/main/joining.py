"""The wiring of how devices join a fleet, and of what nodes say: their front doors, beside that of the fleet's API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import skerry
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.runtime_package import RuntimePackage
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.main.baetyl import baetyl_door
from skerry.server.access import Access
from skerry.server.baetyl.activation import Activation
from skerry.server.baetyl.callbacks import Callbacks
from skerry.server.baetyl.delivery import Delivery, Place
from skerry.server.baetyl.fleet import Fleet
from skerry.server.baetyl.install import Install, Installing
from skerry.server.baetyl.joining import JoiningDoor, SyncDoor
from skerry.server.baetyl.links import Links
from skerry.server.baetyl.node_logs import NodeLogs
from skerry.server.baetyl.node_metrics import NodeMetrics
from skerry.server.baetyl.products import Products
from skerry.server.baetyl.registrar import Registrar
from skerry.server.baetyl.relay import Relay
from skerry.server.baetyl.slice_door import SliceDoor
from skerry.server.baetyl.slices import Slices
from skerry.server.baetyl.stored_objects import Keeping, StoredObjects
from skerry.server.baetyl.sync import Sync
from skerry.server.baetyl.traffic_reports import TrafficReports
from skerry.server.http import Door
from skerry.server.tls import Authority, ServerIdentity
from skerry.server.verbs.verbs import Verbs

#: What the authority's key makes the key of install tokens for.
_INSTALL_TOKENS = "skerry install tokens"
#: Likewise, of URLs of files for nodes.
_OBJECT_URLS = "skerry object urls"


@dataclass(frozen=True, slots=True)
class Joining:
    """What lets devices join."""

    registrar: Registrar
    activation: Activation
    install: Install
    objects: StoredObjects
    slices: Slices
    artifacts: Keeping
    sync: Sync
    links: Links
    relay: Relay


@dataclass(frozen=True, slots=True)
class Trusted:
    """What joining devices trust: who signs, and what this server shows."""

    authority: Authority
    identity: ServerIdentity


@dataclass(frozen=True, slots=True)
class Kept:
    """Where what devices fetch is kept.

    Attributes:
        directory: the packed program.
        artifacts: files for nodes.
        engine: the engine of JavaScript functions, which is packed with the program.
    """

    directory: Path
    artifacts: Keeping
    engine: Path


@dataclass(frozen=True, slots=True)
class JoiningSettings:
    """What is set about devices.

    Attributes:
        fetching: where callbacks may not go.
        addresses: URLs under which devices reach the API; () for that under which a command is asked for.
        root_namespace: plugins and policies of this namespace apply to Gateways of every namespace.
        is_shared: whether there may be other replicas, which have links of nodes.
    """

    fetching: FetchSettings = field(default_factory=FetchSettings)
    addresses: Sequence[str] = ()
    root_namespace: str = "istio-system"
    is_shared: bool = False


@asynccontextmanager
async def joining(
    verbs: Verbs, fleet: Fleet, trusted: Trusted, kept: Kept, settings: JoiningSettings
) -> AsyncIterator[Joining]:
    """Have what lets devices join, for the length of the block.

    Args:
        verbs: read and write.
        fleet: knows what nodes are to run, and counts records.
        trusted: by devices.
        kept: where what devices fetch is kept.
        settings: what is set.
    """
    clock, authority = SystemClock(), trusted.authority
    package = Path(skerry.__file__).parent
    packing = RuntimePackage(kept.directory, distribution="skerry", package=package, engine=kept.engine)
    slices = Slices(verbs, fleet, settings.root_namespace)
    async with Callbacks(settings.fetching) as callbacks, packing as program, slices.running():
        registrar = Registrar(verbs, fleet.records)
        activation = Activation(verbs, registrar, authority, callbacks, clock)
        installing = Installing(
            authority.derived_key(_INSTALL_TOKENS),
            settings.addresses,
            authority.pem.decode(),
            lambda: trusted.identity.public_key_pin,
            clock,
        )
        install = Install(verbs, activation, installing, program, RandomIds())
        objects = StoredObjects(kept.artifacts, authority.derived_key(_OBJECT_URLS), clock)
        sync = Sync(verbs, fleet, clock)
        links = Links(sync)
        fleet.on_change(links.look)
        relay = Relay(verbs, links, clock, RandomIds(), is_shared=settings.is_shared)
        async with relay.running():
            yield Joining(registrar, activation, install, objects, slices, kept.artifacts, sync, links, relay)


def fleet_doors(verbs: Verbs, access: Access, fleet: Fleet, parts: Joining) -> tuple[Door, ...]:
    """Return the front doors of fleets."""

    def deliver(place: Place, address: str) -> Delivery:
        return Delivery(verbs, fleet, place, parts.objects.urls_at(address))

    of_nodes = (NodeLogs(parts.relay), NodeMetrics(parts.relay))
    return (
        baetyl_door(verbs, access, fleet, (Products(parts.registrar), parts.install, parts.objects, *of_nodes)),
        JoiningDoor(access, parts.activation, parts.install, parts.objects),
        SliceDoor(access, parts.slices, parts.artifacts, TrafficReports(verbs, SystemClock())),
        SyncDoor(access, parts.activation, parts.sync, parts.links, deliver),
    )
