"""What runs are given of the log: the values of Secrets, and the credentials of service instances.

Owns how both are read; who may name them was asked when they were named. Does not own how they get into a run's context
(`functions.injection`).
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from skerry.api.core_v1 import Secret
from skerry.api.dispatch_services import ServiceInstance
from skerry.client.client import Client
from skerry.functions.injection import READY, ServiceBinding


async def read_secret(client: Client, namespace: str, name: str, _: str = "") -> Mapping[str, str]:
    """Return the values of a Secret as text; raises KeyError where there is none of that name."""
    secret = await client.find(Secret, name, namespace=namespace)
    if secret is None:
        raise KeyError(name)
    return values_of(secret)


def values_of(secret: Secret) -> Mapping[str, str]:
    """Return the values of a Secret as text."""
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.data or {}).items()}


async def read_binding(client: Client, namespace: str, name: str, _: str = "") -> ServiceBinding:
    """Return the binding of a service instance; raises KeyError where there is no such instance."""
    instance = await client.find(ServiceInstance, name, namespace=namespace)
    if instance is None:
        raise KeyError(name)
    binding = instance.status.binding
    if binding is None or binding.state != READY or instance.metadata.deletion_timestamp or not binding.secret:
        return ServiceBinding((binding.state if binding else instance.status.state) or "INITIALIZED", {})
    return ServiceBinding(READY, await read_secret(client, namespace, binding.secret))


async def merged_parameters(
    client: Client, namespace: str, parameters: Mapping[str, Any] | None, secrets: Iterable[str] | None
) -> dict[str, Any]:
    """Return parameters with the values of Secrets, later ones winning; raises KeyError where a Secret is not there."""
    merged = dict(parameters or {})
    for name in secrets or ():
        merged.update(await read_secret(client, namespace, name))
    return merged
