"""Reads the catalogues of service brokers, and keeps the classes that they offer.

Owns `ServiceBroker.status`, and the ServiceClasses that name a broker. Does not own instances (`dispatch_services`).

Invariant: a broker's classes are as its last catalogue that could be read; what it does not offer any more goes. An
instance needs no class once it was begun: what its broker must be told is in its own status.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import ValidationError

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_services import PLANS_MAX, ServiceBroker, ServiceClass, ServiceClassSpec
from skerry.api.errors import AlreadyExists, ApiError, NotFound
from skerry.api.model import ObjectMeta, OwnerReference
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_bindings import read_secret
from skerry.functions import SchemaError, check_schema
from skerry.functions.remote.service_broker import BrokerError, BrokerRefused, ServiceBrokerClient
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)

#: Brokers that are asked at once.
CONCURRENCY = 4
#: How often catalogues are read again.
RESYNC_SECONDS = 300.0
#: Services of one broker.
SERVICES_MAX = 200

_NAME = re.compile(r"[\w-]{1,63}", re.ASCII)


@asynccontextmanager
async def connected(client: Client, broker: ServiceBroker) -> AsyncIterator[ServiceBrokerClient]:
    """Be ready to ask a broker; raises BrokerError where its Secret is not there."""
    secret: Mapping[str, str] = {}
    if name := broker.spec.auth_secret:
        try:
            secret = await read_secret(client, broker.namespace, name)
        except KeyError as error:
            raise BrokerError(f"secret {name} of broker {broker.name} not found") from error
    headers = {"authorization": f"Bearer {secret['token']}"} if "token" in secret else {}
    auth = httpx.BasicAuth(secret["username"], secret.get("password", "")) if "username" in secret else None
    url = broker.spec.url.rstrip("/")
    async with httpx.AsyncClient(base_url=url, headers=headers, auth=auth) as http:
        yield ServiceBrokerClient(http)


class ServiceBrokerController:
    """Reads catalogues; `running()` is its life.

    Args:
        client: reads and writes.
        brokers: the cache of brokers.
    """

    def __init__(self, client: Client, brokers: Informer[ServiceBroker]) -> None:
        self._client = client
        self._brokers = brokers
        self._turns = KeyedWorkers[Key]("service-brokers", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read catalogues for the length of the block."""
        self._brokers.on_change(self._look_at)
        async with resynced("service-brokers", self._resync, self._turns, resync_seconds=RESYNC_SECONDS):
            yield

    def _look_at(self, key: Key) -> None:
        broker = self._brokers.get(key[1], key[0])
        if broker is not None and broker.status.observed_generation != broker.metadata.generation:
            self._turns.add(key)

    async def _resync(self) -> None:
        await self._brokers.synced()
        for broker in self._brokers:
            self._turns.add((broker.namespace, broker.name))

    async def reconcile(self, key: Key) -> None:
        """Read one broker's catalogue."""
        namespace, name = key
        broker = await self._client.find(ServiceBroker, name, namespace=namespace)
        if broker is None or broker.metadata.deletion_timestamp:
            return
        try:
            async with connected(self._client, broker) as connection:
                services = await connection.catalog()
            problems = await self._offer(broker, services[:SERVICES_MAX])
        except (BrokerError, BrokerRefused) as error:
            await self._tell(broker, api.ERROR, [error.public])
            if isinstance(error, BrokerError):
                raise  # tried again, with backoff
            return
        if len(services) > SERVICES_MAX:
            problems.append(f"only the first {SERVICES_MAX} of {len(services)} services are taken")
        await self._tell(broker, api.READY, problems)

    async def _tell(self, broker: ServiceBroker, state: api.State, reason: list[str]) -> None:
        def tell(found: ServiceBroker) -> None:
            found.status.state, found.status.reason = state, reason or None
            found.status.observed_generation = broker.metadata.generation

        try:
            await self._client.change_status(broker, tell)
        except NotFound:
            log.info("broker was deleted while its catalogue was read", broker=broker.name)

    async def _offer(self, broker: ServiceBroker, services: list[dict[str, Any]]) -> list[str]:
        """Keep a broker's classes; return what of its catalogue could not be taken."""
        problems, kept = [], set()
        for service in services:
            name = str(service.get("name") or "")
            try:
                await self._keep(broker, name, _spec(broker, service))
            except (ValueError, ValidationError, ApiError) as error:
                problems.append(f"service {name!r}: {error}")
            kept.add(name)
        async for offered in self._client.list(ServiceClass, namespace=broker.namespace):
            if offered.spec.broker == broker.name and offered.name not in kept:
                await self._client.delete(offered)
        return problems

    async def _keep(self, broker: ServiceBroker, name: str, spec: ServiceClassSpec) -> None:
        owner = OwnerReference(api_version=broker.api_version, kind=broker.kind, name=broker.name, uid=broker.uid)
        metadata = ObjectMeta(name=name, namespace=broker.namespace, owner_references=[owner])
        try:
            await self._client.create(ServiceClass(metadata=metadata, spec=spec))
        except AlreadyExists:
            found = await self._client.get(ServiceClass, name, namespace=broker.namespace)
            if found.spec.broker != broker.name:
                raise
            await self._client.change(found, lambda stored: setattr(stored, "spec", spec))


def _spec(broker: ServiceBroker, service: Mapping[str, Any]) -> ServiceClassSpec:
    """Read a service of a catalogue; raises ValueError, or pydantic's ValidationError."""
    if not _NAME.fullmatch(str(service.get("name") or "")):
        raise ValueError("its name may only have letters, numbers, underscores and dashes, at most 63")
    plans = service.get("plans")
    if not isinstance(plans, list) or not plans or len(plans) > PLANS_MAX:
        raise ValueError(f"it must have from 1 to {PLANS_MAX} plans")
    bindable = service.get("bindable", True)
    document = {
        "broker": broker.name,
        "id": service.get("id"),
        "description": service.get("description") or "",
        "bindable": bindable,
        "plans": [_plan(plan, bindable) for plan in plans if isinstance(plan, dict)],
    }
    return ServiceClassSpec.model_validate(document, by_name=False)


def _plan(plan: Mapping[str, Any], bindable: Any) -> dict[str, Any]:
    schemas = plan.get("schemas") or {}
    instance, binding = schemas.get("service_instance") or {}, schemas.get("service_binding") or {}
    schema = {
        "create": (instance.get("create") or {}).get("parameters"),
        "update": (instance.get("update") or {}).get("parameters"),
        "bind": (binding.get("create") or {}).get("parameters"),
    }
    for part, parameters in schema.items():
        if parameters:
            try:
                check_schema(parameters)
            except SchemaError as error:
                raise ValueError(f"plan {plan.get('name')!r}: the schema to {part} is none: {error}") from error
    return {
        "name": plan.get("name"),
        "id": plan.get("id"),
        "description": plan.get("description") or "",
        "free": plan.get("free", True),
        "bindable": plan.get("bindable", bindable),
        "metadata": plan.get("metadata"),
        "schema": {name: value for name, value in schema.items() if value} or None,
    }
