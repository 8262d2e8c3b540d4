"""Gives functions the secrets and the service bindings that they were registered with.

Source: Dispatch's SecretInjector and ServiceInjector.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from skerry.functions.errors import InputError
from skerry.functions.messages import SECRETS_KEY, SERVICE_BINDINGS_KEY, Context, Middleware, Runnable

#: The status of a binding that can be used.
READY = "READY"


class SecretInjector(Protocol):
    """Makes the middleware that puts one execution's secrets into its context."""

    def get_middleware(self, secrets: Sequence[str], cookie: str) -> Middleware:
        """Give the middleware: a secret that is not there raises an InputError."""
        ...


class ServiceInjector(Protocol):
    """Makes the middleware that puts one execution's service bindings into its context."""

    def get_middleware(self, services: Sequence[str], cookie: str) -> Middleware:
        """Give the middleware: a binding that is not ready raises an InputError."""
        ...


@dataclass(frozen=True)
class ServiceBinding:
    """What a function needs in order to use a service instance.

    Attributes:
        status: INITIALIZED, CREATING, READY or ERROR; only a READY one has values.
        values: name to value: addresses and credentials.
    """

    status: str
    values: Mapping[str, Any]


#: Reads a secret's values for who has a cookie; a KeyError says that there is no such secret, or none for them.
ReadSecret: TypeAlias = Callable[[str, str], Awaitable[Mapping[str, str]]]
#: Reads the binding of a service instance, likewise.
ReadBinding: TypeAlias = Callable[[str, str], Awaitable[ServiceBinding]]


def secret_injector(read: ReadSecret) -> SecretInjector:
    """Make an injector of whatever reads secrets.

    It sets `context["secrets"]`, {} if there are none: all keys of all secrets in one mapping, later secrets winning.

    >>> import asyncio
    >>> async def read(name, cookie):
    ...     return {"db": {"password": "mellon"}}[name]
    >>> async def use(context, payload):
    ...     return context["secrets"]
    >>> asyncio.run(secret_injector(read).get_middleware(["db"], "")(use)({}, None))
    {'password': 'mellon'}

    Args:
        read: takes name and cookie; raises KeyError for a secret that is not there.
    """
    return _SecretInjector(read)


def service_injector(read: ReadBinding) -> ServiceInjector:
    """Make an injector of whatever reads bindings.

    It sets `context["serviceBindings"]`, {} if there are none: each instance's name with its values.

    Args:
        read: takes the instance's name and cookie; raises KeyError for one that is not there.
    """
    return _ServiceInjector(read)


@dataclass(frozen=True)
class _SecretInjector:
    read: ReadSecret

    def get_middleware(self, secrets: Sequence[str], cookie: str) -> Middleware:
        async def values() -> dict[str, Any]:
            merged: dict[str, Any] = {}
            for name in secrets:
                try:
                    merged.update(await self.read(name, cookie))
                except KeyError as error:
                    raise InputError(
                        "error when retrieving secrets from secret store: "
                        f"failed to get secrets from secret store: secret {name} not found"
                    ) from error
            return merged

        return _injecting(SECRETS_KEY, values if secrets else None)


@dataclass(frozen=True)
class _ServiceInjector:
    read: ReadBinding

    def get_middleware(self, services: Sequence[str], cookie: str) -> Middleware:
        async def values() -> dict[str, Any]:
            return {name: dict(await self._values_of(name, cookie)) for name in services}

        return _injecting(SERVICE_BINDINGS_KEY, values if services else None)

    async def _values_of(self, name: str, cookie: str) -> Mapping[str, Any]:
        failure = "error when retrieving bindings from service manager: failed to get service bindings"
        try:
            binding = await self.read(name, cookie)
        except KeyError as error:
            raise InputError(f"{failure}: service instance {name} not found") from error
        if binding.status != READY:
            raise InputError(f"{failure} current status {binding.status}")
        return binding.values


def _injecting(key: str, values: Callable[[], Awaitable[dict[str, Any]]] | None) -> Middleware:
    """Set a key of the context for the function, and for nobody after it; `values` is None where there are none."""

    def injected(runnable: Runnable) -> Runnable:
        async def run(context: Context, payload: Any) -> Any:
            context[key] = await values() if values else {}
            try:
                return await runnable(context, payload)
            finally:
                del context[key]

        return run

    return injected
