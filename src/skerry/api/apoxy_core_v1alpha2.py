"""core.apoxy.dev/v1alpha2: Backend, an upstream outside of Skerry."""

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, forbidden, invalid, not_supported, required
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, Document, Int32, Model, Resource
from skerry.api.names import is_subdomain

PROTOCOLS = ("", "tls", "h2", "h2c")


class BackendEndpoint(Model):
    """One place where a backend answers: a name or an address."""

    fqdn: Annotated[str, Field(max_length=253)] | None = None
    """A DNS name, resolved again and again."""
    ip: str | None = None
    """An IPv4 or IPv6 address."""


class DynamicProxyDnsCacheConfig(Model):
    """How the names of a dynamic proxy are resolved and kept."""

    dns_lookup_family: Literal["auto", "v4_only", "v6_only", "v4_preferred", "all"] | None = None
    """Which addresses are asked for."""
    dns_refresh_rate: str | None = None
    """How often a name is resolved again; 60s where absent."""
    dns_min_refresh_rate: str | None = None
    """The shortest time between two resolutions; 5s where absent."""
    host_ttl: Annotated[str | None, Field(alias="hostTTL")] = None
    """How long an unused name is kept; 5m where absent."""
    max_hosts: Annotated[Int32, Field(ge=1)] | None = None
    """How many names are kept; 1024 where absent."""
    dns_query_timeout: str | None = None
    """How long one resolution may take; 5s where absent."""


class DynamicProxySpec(Model):
    """Sends each request to the host that it names."""

    dns_cache_config: DynamicProxyDnsCacheConfig | None = None
    """How names are resolved and kept."""


class BackendSpec(Model):
    """Where a backend answers, and how it is spoken to."""

    endpoints: Annotated[list[BackendEndpoint] | None, Field(max_length=64), LIST_ATOMIC] = None
    """The places where the backend answers; requests are spread over them."""
    dynamic_proxy: DynamicProxySpec | None = None
    """Instead of endpoints: each request goes to the host that it names."""
    protocol: str = ""
    """Empty: HTTP/1.1. `tls`: HTTP/1.1 or 2 over TLS. `h2`: HTTP/2 over TLS. `h2c`: HTTP/2 in clear."""


class BackendStatus(Model):
    """The present state of a backend."""

    conditions: Conditions = None
    """What the controllers say of it."""


class Backend(Resource):
    """An upstream outside of Skerry, for routes to send requests to."""

    spec: BackendSpec
    """The desired state."""
    status: BackendStatus = Field(default_factory=BackendStatus)
    """The present state."""


def _default(backend: Backend) -> None:
    backend.spec.protocol = backend.spec.protocol.lower()


def _endpoint_errors(path: str, endpoint: BackendEndpoint) -> Iterator[FieldError]:
    if endpoint.ip and endpoint.fqdn:
        yield forbidden(path, "only one of fqdn and ip may be given")
    if not endpoint.ip and not endpoint.fqdn:
        yield required(path, "one of fqdn and ip must be given")
    if endpoint.fqdn and not is_subdomain(endpoint.fqdn.lower().rstrip(".")):
        yield invalid(f"{path}.fqdn", endpoint.fqdn, "must be a DNS name, such as api.example.com")
    if endpoint.ip:
        try:
            ipaddress.ip_address(endpoint.ip)
        except ValueError:
            yield invalid(f"{path}.ip", endpoint.ip, "must be a valid IP address, such as 10.9.8.7 or 2001:db8::ffff")


def _cache_errors(path: str, cache: DynamicProxyDnsCacheConfig) -> Iterator[FieldError]:
    for name, text in (
        ("dnsRefreshRate", cache.dns_refresh_rate),
        ("dnsMinRefreshRate", cache.dns_min_refresh_rate),
        ("hostTTL", cache.host_ttl),
        ("dnsQueryTimeout", cache.dns_query_timeout),
    ):
        try:
            if text is not None:
                parse_seconds(text)
        except ValueError as error:
            yield invalid(f"{path}.{name}", text, str(error))


def _validate(backend: Backend, _: Backend | None) -> Iterator[FieldError]:
    """Check endpoints and protocol. Upstream demands an endpoint of a dynamic proxy too, and uses none: not here."""
    spec = backend.spec
    if spec.protocol not in PROTOCOLS:
        yield not_supported("spec.protocol", spec.protocol, PROTOCOLS)
    if spec.dynamic_proxy is None and not spec.endpoints:
        yield required("spec.endpoints", "at least one endpoint, or dynamicProxy, must be given")
    for index, endpoint in enumerate(spec.endpoints or ()):
        yield from _endpoint_errors(f"spec.endpoints[{index}]", endpoint)
    if spec.dynamic_proxy and spec.dynamic_proxy.dns_cache_config:
        yield from _cache_errors("spec.dynamicProxy.dnsCacheConfig", spec.dynamic_proxy.dns_cache_config)


def _first_endpoint(document: Document) -> str | None:
    first = value_at(".spec.endpoints[0]")(document)
    return (first.get("fqdn") or first.get("ip")) if isinstance(first, dict) else None


BACKEND = Kind(
    group="core.apoxy.dev",
    version="v1alpha2",
    model=Backend,
    plural="backends",
    namespaced=False,
    columns=(
        Column("Endpoint", _first_endpoint, description="The first place where it answers."),
        Column("Protocol", value_at(".spec.protocol"), description="How it is spoken to.", priority=1),
    ),
    default=_default,
    validate=_validate,
    selectable={"spec.protocol": lambda d: str(value_at(".spec.protocol")(d) or "")},
    read_by="view",
    written_by="edit",
)
