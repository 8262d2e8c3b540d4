"""A real Envoy before the author's own backend, with the function that is developed as its filter.

Owns that Envoy for as long as the function is developed, and its configuration: one listener, on a port of loopback
that Envoy picks by itself, and one route for all requests, past the worker to the backend. Does not own who asks
(`front`), nor what a filter may do: worker and Envoy are those of a node.
"""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.gateway import ir
from skerry.gateway.backends import ENGINE_FILTERS
from skerry.gateway.envoy import Envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.envoy_config import EdgeSettings
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.route_filters import engine_filter
from skerry.gateway.xds import XdsServer, check_socket_path, serve_xds
from skerry.kit.errors import ConfigurationError, StartError

#: How long Envoy may take to have a revision in force, its own start included.
APPLY_SECONDS_MAX = 60.0
_NAME = "development"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Upstream:
    """The backend that a filter stands before."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> "Upstream":
        """Read a URL such as http://127.0.0.1:3000; raises ConfigurationError."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            parts, port = urlsplit(""), None
        if not parts.hostname or port is None or parts.username is not None or parts.path.strip("/") or parts.query:
            raise ConfigurationError(
                f"--upstream: must be a URL such as http://127.0.0.1:3000, without a path: {url!r}"
            )
        return cls(parts.hostname, port, tls=parts.scheme == "https")

    def cluster(self) -> ir.NetworkCluster:
        """Return it as Envoy's upstream."""
        hosts = (ir.Host(self.host, self.port),)
        return ir.NetworkCluster(_NAME, hosts, "tls" if self.tls else "http1", dns=not _is_address(self.host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class DevelopmentGateway:
    """The running Envoy, as `development_gateway` yields it."""

    def __init__(self, settings: EnvoySettings, xds: XdsServer, envoy: Envoy, upstream: Upstream, worker: Path) -> None:
        self._edge = EdgeSettings(access_log=str(settings.access_log))
        self._xds = xds
        self._envoy = envoy
        self._upstream = upstream
        self._worker = worker

    async def origin(self) -> str:
        """Return the URL where it is asked now; an Envoy that is started again has another one.

        Raises:
            AdminUnavailable: it is between two lives.
        """
        return f"http://{(await self._envoy.listener_addresses())[_NAME]}"

    async def show(self, function: EdgeFunction, revision: str) -> None:
        """Have requests pass a revision of a function from now on; raises NotApplied, StartError."""
        live = function.model_copy(deep=True)
        live.status.live_revision = revision
        filters = engine_filter(live)
        generation = self._xds.set_snapshot(build_snapshot(self._model(filters.use), self._edge))
        for refused in await self._xds.wait_until_applied(generation, timeout_seconds=APPLY_SECONDS_MAX):
            raise StartError(f"Envoy refuses its configuration: {refused.message}")

    def _model(self, use: ir.FilterUse) -> ir.Ir:
        """Return what Envoy shall do: show every request to the function, and forward it as it was sent."""
        forward = ir.Forward((ir.Destination(_NAME),), timeout_seconds=0.0)
        route = ir.Route(_NAME, ir.EVERYTHING, forward, filters=(use,))
        chain = ir.Chain(_NAME, route_filters=(ir.EnginePlace(use.filter),))
        return ir.Ir(
            bindings=(ir.Binding(_NAME, _NAME, "127.0.0.1", 0, (chain,)),),
            tables=(ir.RouteTable(_NAME, (ir.VirtualHost("*", (route,)),)),),
            clusters=(self._upstream.cluster(), ir.EngineCluster(ENGINE_FILTERS, (str(self._worker),), "filters")),
        )


@asynccontextmanager
async def development_gateway(upstream: Upstream, worker: Path, directory: Path) -> AsyncIterator[DevelopmentGateway]:
    """Run an Envoy before a backend for the length of the block; it serves from the first `show` on.

    Args:
        upstream: the backend.
        worker: socket of the engine worker.
        directory: for sockets and logs; its path is short.

    Raises:
        StartError: Envoy can't be run.
    """
    envoy_dir, socket = directory / "envoy", str(directory / "xds.sock")
    settings = EnvoySettings(_NAME, envoy_dir, envoy_dir, socket, concurrency=1, drain_seconds=1.0)
    check_socket_path(settings.admin_socket)
    async with serve_xds(settings.xds_socket) as xds, run_envoy(settings) as envoy:
        yield DevelopmentGateway(settings, xds, envoy, upstream, worker)
