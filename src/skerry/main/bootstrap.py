"""The objects that a new Skerry starts with: a GatewayClass, and a Gateway at the HTTP address.

Owns their first form and the Gateway's address, which follows the settings. Does not own anything else about them:
what a user changed stays.
"""

from skerry.api.errors import AlreadyExists
from skerry.api.gateway_v1 import (
    CONTROLLER_NAME,
    DEFAULT_FUNCTIONS_LABEL,
    AllowedRoutes,
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    GatewaySpec,
    GatewaySpecAddress,
    Listener,
    RouteNamespaces,
)
from skerry.api.model import ObjectMeta, R, condition_of
from skerry.client.client import Client
from skerry.kit.errors import StartError
from skerry.main.setting_values import Address

CLASS_NAME = "skerry"
GATEWAY_NAME = "default"
GATEWAY_NAMESPACE = "default"
LISTENER_NAME = "http"


async def ensure_default_gateway(client: Client, http_address: Address) -> None:
    """Create the class and the Gateway where they are absent; move the Gateway's listener to the address."""
    await ensure_class(client)
    gateway = await _ensure(client, _default_gateway(http_address))
    await client.change(gateway, lambda stored: _move(stored, http_address))


async def ensure_class(client: Client) -> None:
    """Create the class where it is absent: for Gateways of the nodes of fleets too."""
    spec = GatewayClassSpec(controller_name=CONTROLLER_NAME)
    await _ensure(client, GatewayClass(metadata=ObjectMeta(name=CLASS_NAME), spec=spec))


async def require_default_gateway(client: Client) -> None:
    """Insist that the default Gateway listens; raises StartError with Envoy's own words where it does not."""
    gateway = await client.get(Gateway, GATEWAY_NAME, namespace=GATEWAY_NAMESPACE)
    programmed = condition_of(gateway.status.conditions, "Programmed")
    if programmed is None or programmed.status != "True":
        why = programmed.message if programmed else "it has no status"
        raise StartError(f"the default Gateway does not listen: {why}")


async def _ensure(client: Client, wanted: R) -> R:
    try:
        return await client.create(wanted)
    except AlreadyExists:
        return await client.get(type(wanted), wanted.name, namespace=wanted.namespace)


def _default_gateway(address: Address) -> Gateway:
    listener = Listener(
        name=LISTENER_NAME,
        protocol="HTTP",
        port=address.port,
        allowed_routes=AllowedRoutes(namespaces=RouteNamespaces(from_="All")),
    )
    return Gateway(
        metadata=ObjectMeta(name=GATEWAY_NAME, namespace=GATEWAY_NAMESPACE, labels={DEFAULT_FUNCTIONS_LABEL: "true"}),
        spec=GatewaySpec(gateway_class_name=CLASS_NAME, listeners=[listener], addresses=[_bound_to(address)]),
    )


def _move(gateway: Gateway, address: Address) -> None:
    gateway.spec.addresses = [_bound_to(address)]
    for listener in gateway.spec.listeners:
        if listener.name == LISTENER_NAME:
            listener.port = address.port


def _bound_to(address: Address) -> GatewaySpecAddress:
    return GatewaySpecAddress(type="IPAddress", value=address.host)
