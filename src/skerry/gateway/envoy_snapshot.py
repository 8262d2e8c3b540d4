"""A whole model as Envoy's resources, one state after another.

Invariant: equal models give equal snapshots, whatever was written before; a resource that did not change is the very
object of the snapshot before, so that the xDS server tells at a glance what changed.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from google.protobuf.message import Message

from skerry.gateway import ir
from skerry.gateway.chain_tables import served_name, served_tables
from skerry.gateway.envoy_config import EdgeSettings, cluster, listener, secret
from skerry.gateway.envoy_plugins import extension
from skerry.gateway.envoy_routes import route_configuration
from skerry.gateway.snapshot import (
    CLUSTER_TYPE,
    EXTENSION_TYPE,
    LISTENER_TYPE,
    ROUTE_TYPE,
    SECRET_TYPE,
    Snapshot,
    Users,
    XdsResource,
    pack,
)
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.memo import Memo, MemoMap

#: A part of the model that becomes a resource of its own.
M = TypeVar("M", bound=ir.Binding | ir.RouteTable | ir.Cluster | ir.Certificate)


class SnapshotBuilder:
    """Writes one model after another as Envoy's resources; what is as it was before is not written again."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._listeners = _Section[ir.Binding](lambda binding: listener(binding, settings))
        self._tables = _Section[ir.RouteTable](route_configuration)
        self._clusters = _Section[ir.Cluster](lambda model: cluster(model, settings))
        self._certificates = _Section[ir.Certificate](secret)
        self._plugins: MemoMap[str, ir.Plugin, XdsResource] = MemoMap()
        self._served_tables: Memo[tuple[ir.RouteTable, ...]] = Memo()
        self._users: Memo[Users] = Memo()

    def build(self, model: ir.Ir) -> Snapshot:
        """Write a whole model; the result depends on nothing that was written before."""
        tables = self._served_tables.get(
            (model.bindings, model.tables), lambda: served_tables(model.bindings, model.tables)
        )
        return Snapshot(
            {
                CLUSTER_TYPE: self._clusters.write(model.clusters),
                SECRET_TYPE: self._certificates.write(model.certificates),
                LISTENER_TYPE: self._listeners.write(model.bindings),
                EXTENSION_TYPE: self._plugins.map(model.plugins, _packed_extension),
                ROUTE_TYPE: self._tables.write(tables),
            },
            self._users.get((model.bindings,), lambda: _users(model.bindings)),
        )


class _Section(Generic[M]):
    """The resources of one type, of which there are few, or which change together: written, and packed."""

    def __init__(self, message: Callable[[M], Message]) -> None:
        self._message = message
        self._parts: Memo[ImmutableMap[str, M]] = Memo()
        self._packed: MemoMap[str, M, XdsResource] = MemoMap()

    def write(self, parts: tuple[M, ...]) -> ImmutableMap[str, XdsResource]:
        by_name = self._parts.get((parts,), lambda: ImmutableMap((part.name, part) for part in parts))
        return self._packed.map(by_name, self._pack)

    def _pack(self, part: M) -> XdsResource:
        return pack(part.name, self._message(part))


def _packed_extension(plugin: ir.Plugin) -> XdsResource:
    return pack(plugin.name, extension(plugin))


def build_snapshot(model: ir.Ir, settings: EdgeSettings) -> Snapshot:
    """Write a whole model as Envoy's resources."""
    return SnapshotBuilder(settings).build(model)


def _users(bindings: Iterable[ir.Binding]) -> Users:
    """Return the names of the listeners that name each route table, each certificate and each plugin."""
    found: dict[tuple[str, str], set[str]] = {}
    for binding in bindings:
        for chain in binding.chains:
            named = [
                (ROUTE_TYPE, served_name(chain)),
                *((SECRET_TYPE, name) for name in chain.certificates),
                *((EXTENSION_TYPE, use.plugin) for use in chain.plugins),
            ]
            for key in named:
                found.setdefault(key, set()).add(binding.name)
    return {key: frozenset(users) for key, users in found.items()}
