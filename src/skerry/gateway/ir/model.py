"""The whole of what the proxy shall do."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from skerry.gateway.ir.chains import Binding, Certificate, Plugin
from skerry.gateway.ir.clusters import Cluster
from skerry.gateway.ir.routes import RouteTable
from skerry.kit.immutable_map import ImmutableMap


@dataclass(frozen=True, slots=True)
class Ir:
    """Everything the proxy shall do; each tuple is ordered by name.

    Attributes:
        plugins: by name; often many, of which few change at once.
    """

    bindings: tuple[Binding, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    plugins: ImmutableMap[str, Plugin] = field(default_factory=ImmutableMap)


def plugins_by_name(plugins: Iterable[Plugin]) -> ImmutableMap[str, Plugin]:
    """Return plugins as an `Ir` holds them."""
    return ImmutableMap({plugin.name: plugin for plugin in plugins})
