"""Makes service instances, binds them, and lets go of them.

Owns `ServiceInstance.status` and the Secrets with credentials. Does not own classes (`service_brokers`), nor what
brokers understand (`functions.remote.service_broker`).

Invariant: each step is written down before the next is asked for, and every request may be sent again: the ids that a
broker gets follow from the instance's uid. An instance stays, held by a finalizer, until its broker has let go of all
that was asked for, so nothing is left behind there by a crash here.
"""

import base64
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import orjson

from skerry.api import dispatch_v1 as api
from skerry.api.core_v1 import Secret
from skerry.api.dispatch_services import (
    FINALIZER,
    ServiceBindingStatus,
    ServiceBroker,
    ServiceClass,
    ServiceInstance,
    ServiceInstanceStatus,
    ServiceOperation,
)
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import ObjectMeta, OwnerReference
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_bindings import merged_parameters
from skerry.controllers.service_brokers import connected
from skerry.functions import SchemaError, check_against
from skerry.functions.remote.service_broker import (
    Answer,
    BrokerError,
    BrokerRefused,
    Placed,
    ServiceBrokerClient,
)
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers

log = get_logger(__name__)

#: Instances that are worked on at once.
CONCURRENCY = 8
#: How often a broker is asked how far it is.
POLL_SECONDS = 2.0
#: How long a broker may be at one operation.
OPERATION_SECONDS_MAX = 7 * 86400.0

#: Names bindings: one to each instance.
_BINDINGS = uuid.UUID("2f0a8c1e-3d57-4a61-8f0c-7e5b9f6d2c11")


class ServiceInstanceController:
    """Reconciles service instances; `running()` is its life.

    Args:
        client: reads and writes.
        instances: the cache of instances.
        classes: the cache of classes: one that comes later wakes those that wait for it.
        clock: stamps what is written.
        poll_seconds: how often a broker is asked how far it is.
    """

    def __init__(
        self,
        client: Client,
        instances: Informer[ServiceInstance],
        classes: Informer[ServiceClass],
        clock: Clock,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._client = client
        self._instances = instances
        self._classes = classes
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._turns = KeyedWorkers[Key]("service-instances", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        self._instances.on_change(self._turns.add)
        self._classes.on_change(self._look_at_instances_of)
        try:
            yield
        finally:
            await self._turns.stop()

    def _look_at_instances_of(self, offered: Key) -> None:
        for key, instance in self._instances.objects.items():
            if (instance.namespace, instance.spec.service_class) == offered and instance.status.state == "INITIALIZED":
                self._turns.add(key)

    async def reconcile(self, key: Key) -> None:
        """Bring one instance a step further."""
        namespace, name = key
        instance = await self._client.find(ServiceInstance, name, namespace=namespace)
        if instance is None:
            return
        ending = instance.metadata.deletion_timestamp is not None
        if not ending and instance.status.state in {api.READY, api.ERROR}:
            return
        try:
            if ending:
                await self._let_go(instance)
            else:
                await self._bring(instance)
        except NotFound:
            log.info("service instance was deleted while it was worked on", instance=name)
        except BrokerRefused as error:
            await self._fail(instance, error.public, ending=ending)
        except BrokerError as error:
            await self._tell(instance, reason=error.public)
            raise  # tried again, with backoff

    async def _bring(self, instance: ServiceInstance) -> None:
        """Provision, then bind; each answer is a change, and so another turn."""
        status = instance.status
        if status.state == "INITIALIZED":
            await self._begin(instance)
        elif not status.broker:
            await self._provide(instance)
        elif status.operation is not None:
            await self._follow(instance, status.operation)
        elif not status.provisioned:
            async with self._broker(instance) as broker:
                parameters = await self._parameters(instance, instance.spec.parameters, instance.spec.secret_parameters)
                await self._require_fit(instance, "create", parameters)
                context = {"platform": "skerry", "namespace": instance.namespace, "instance_name": instance.name}
                answer = await broker.provision(_placed(instance), parameters, context)
            await self._note(instance, "provision", answer)
        elif status.bindable:
            wanted = instance.spec.binding
            async with self._broker(instance) as broker:
                parameters = await self._parameters(
                    instance, wanted.parameters if wanted else None, wanted.secret_parameters if wanted else None
                )
                await self._require_fit(instance, "bind", parameters)
                answer = await broker.bind(_placed(instance), _binding_id(instance), parameters)
            await self._note(instance, "bind", answer)
        else:
            await self._client.change_status(instance, lambda found: setattr(found.status, "state", api.READY))

    async def _begin(self, instance: ServiceInstance) -> None:
        """Write down what is asked of whom, before anything is."""
        spec = instance.spec
        offered = await self._client.find(ServiceClass, spec.service_class, namespace=instance.namespace)
        plan = offered.spec.plan(spec.service_plan) if offered else None
        if offered is None or plan is None:
            missing = f"class {spec.service_class}" if offered is None else f"plan {spec.service_plan}"
            await self._tell(instance, reason=f"Service {missing} does not exist")
            return  # a class that comes wakes it

        def begin(found: ServiceInstance) -> None:
            found.status = ServiceInstanceStatus(
                state=api.CREATING,
                broker=offered.spec.broker,
                service_id=offered.spec.id,
                plan_id=plan.id,
                bindable=plan.bindable,
                binding=ServiceBindingStatus(state="INITIALIZED") if plan.bindable else None,
            )

        await self._client.change_status(instance, begin)

    async def _provide(self, instance: ServiceInstance) -> None:
        """Make a user-provided instance: its credentials are what class and instance say."""
        offered = await self._client.find(ServiceClass, instance.spec.service_class, namespace=instance.namespace)
        shared = offered.spec if offered else None
        credentials = await self._parameters(
            instance, shared.parameters if shared else None, shared.secret_parameters if shared else None
        )
        own = await self._parameters(instance, instance.spec.parameters, instance.spec.secret_parameters)
        await self._require_fit(instance, "create", own)
        await self._bound(instance, credentials | own)

    async def _parameters(
        self, instance: ServiceInstance, parameters: Mapping[str, Any] | None, secrets: list[str] | None
    ) -> dict[str, Any]:
        try:
            return await merged_parameters(self._client, instance.namespace, parameters, secrets)
        except KeyError as error:
            raise BrokerError(f"secret {error.args[0]} not found") from error

    async def _require_fit(
        self, instance: ServiceInstance, part: Literal["create", "bind"], parameters: Mapping[str, Any]
    ) -> None:
        """Refuse parameters, those of secrets among them, that are against the schema of the plan."""
        spec = instance.spec
        offered = await self._client.find(ServiceClass, spec.service_class, namespace=instance.namespace)
        plan = offered.spec.plan(spec.service_plan) if offered else None
        try:
            failures = check_against(plan.schema_of(part) if plan else None)(dict(parameters))
        except SchemaError as error:
            raise BrokerRefused(f"the schema of service plan {spec.service_plan} is none: {error}") from error
        if failures:
            raise BrokerRefused(f"parameters of service plan {spec.service_plan}: {failures}")

    async def _note(self, instance: ServiceInstance, act: Any, answer: Answer) -> None:
        """Write down what came of a request."""
        if answer.going_on:
            since = rfc3339(self._clock.now())
            operation = ServiceOperation(act=act, token=answer.token, since=since)
            await self._client.change_status(instance, lambda found: setattr(found.status, "operation", operation))
            return
        await self._done(instance, act, answer.credentials)

    async def _done(self, instance: ServiceInstance, act: str, credentials: Mapping[str, Any] | None) -> None:
        match act:
            case "provision":

                def provisioned(found: ServiceInstance) -> None:
                    found.status.provisioned, found.status.operation, found.status.reason = True, None, None

                await self._client.change_status(instance, provisioned)
            case "bind":
                if credentials is None:
                    async with self._broker(instance) as broker:
                        credentials = (await broker.fetch_binding(_placed(instance), _binding_id(instance))).credentials
                await self._bound(instance, credentials or {})
            case "unbind":

                def unbound(found: ServiceInstance) -> None:
                    found.status.binding, found.status.operation = None, None

                await self._client.change_status(instance, unbound)
            case _:
                await self._forget(instance)

    async def _follow(self, instance: ServiceInstance, operation: ServiceOperation) -> None:
        """Ask how far a broker is; look again later where it still is at it."""
        binding = _binding_id(instance) if operation.act in {"bind", "unbind"} else ""
        async with self._broker(instance) as broker:
            progress = await broker.last_operation(_placed(instance), operation.token, binding)
        if progress.state == "succeeded":
            await self._done(instance, operation.act, None)
        elif progress.state == "failed":
            raise BrokerRefused(f"the broker could not {operation.act}: {progress.description}")
        elif (self._clock.now() - from_rfc3339(operation.since)).total_seconds() > OPERATION_SECONDS_MAX:
            raise BrokerRefused(f"the broker did not {operation.act} within {OPERATION_SECONDS_MAX:.0f} s")
        else:
            self._turns.add_later((instance.namespace, instance.name), self._poll_seconds)

    async def _bound(self, instance: ServiceInstance, credentials: Mapping[str, Any]) -> None:
        """Keep credentials as a Secret that goes with the instance."""
        owner = OwnerReference(
            api_version=instance.api_version, kind=instance.kind, name=instance.name, uid=instance.uid
        )
        metadata = ObjectMeta(name=instance.uid, namespace=instance.namespace, owner_references=[owner])
        data = {name: base64.b64encode(_text(value)).decode() for name, value in credentials.items()}
        try:
            await self._client.create(Secret(metadata=metadata, data=data))
        except AlreadyExists:
            secret = await self._client.get(Secret, instance.uid, namespace=instance.namespace)
            await self._client.change(secret, lambda found: setattr(found, "data", data))

        def bound(found: ServiceInstance) -> None:
            now = rfc3339(self._clock.now())
            found.status.binding = ServiceBindingStatus(state=api.READY, secret=instance.uid, created_time=now)
            found.status.state, found.status.provisioned = api.READY, True
            found.status.operation, found.status.reason = None, None

        await self._client.change_status(instance, bound)

    async def _let_go(self, instance: ServiceInstance) -> None:
        """Unbind, then deprovision; what was only asked for may be there too."""
        status = instance.status
        if not status.broker:
            await self._forget(instance)
        elif status.operation is not None and status.operation.act in {"unbind", "deprovision"}:
            await self._follow(instance, status.operation)
        elif status.binding is not None:
            async with self._broker(instance) as broker:
                answer = await broker.unbind(_placed(instance), _binding_id(instance))
            await self._note(instance, "unbind", answer)
        else:
            async with self._broker(instance) as broker:
                answer = await broker.deprovision(_placed(instance))
            await self._note(instance, "deprovision", answer)

    async def _forget(self, instance: ServiceInstance) -> None:
        def let_go(found: ServiceInstance) -> None:
            found.metadata.finalizers = [f for f in found.metadata.finalizers or () if f != FINALIZER] or None

        await self._client.change(instance, let_go)

    @asynccontextmanager
    async def _broker(self, instance: ServiceInstance) -> AsyncIterator[ServiceBrokerClient]:
        name = instance.status.broker or ""
        broker = await self._client.find(ServiceBroker, name, namespace=instance.namespace)
        if broker is None:
            raise BrokerError(f"service broker {name} not found")
        async with connected(self._client, broker) as connection:
            yield connection

    async def _tell(self, instance: ServiceInstance, *, reason: str) -> None:
        await self._client.change_status(instance, lambda found: setattr(found.status, "reason", [reason]))

    async def _fail(self, instance: ServiceInstance, reason: str, *, ending: bool) -> None:
        """Write down a refusal. What a broker refuses to let go of stays, for people to look at."""

        def fail(found: ServiceInstance) -> None:
            status = found.status
            status.state, status.operation, status.reason = api.ERROR, None, [reason]
            if status.binding is not None and not ending:
                status.binding.state, status.binding.reason = api.ERROR, [reason]

        await self._client.change_status(instance, fail)
        if ending:
            raise BrokerError(reason)  # asked again, with backoff: a broker's operators may have mended it


def _placed(instance: ServiceInstance) -> Placed:
    return Placed(instance.uid, instance.status.service_id or "", instance.status.plan_id or "")


def _binding_id(instance: ServiceInstance) -> str:
    return str(uuid.uuid5(_BINDINGS, instance.uid))


def _text(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
