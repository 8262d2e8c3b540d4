"""Service classes, and instances with their bindings. Credentials are never shown: runs get them."""

from typing import Any, Literal

from pydantic import Field

from skerry.api.dispatch_services import (
    DEFAULT_PLAN,
    SERVICE_CLASS,
    SERVICE_INSTANCE,
    ServiceBindingStatus,
    ServiceClass,
    ServiceInstance,
    ServiceInstanceSpec,
    ServicePlan,
)
from skerry.api.dispatch_v1 import DELETING
from skerry.api.errors import AlreadyExists, BadRequest, NotFound
from skerry.api.model import Document, ObjectMeta, to_document
from skerry.functions import SchemaError, check_against
from skerry.server.dispatch.bodies import Body, TagBody, seconds_of, spec_of, tags_document, tags_json
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.dispatch.selecting import has_application, wanted_applications
from skerry.server.http import Response
from skerry.server.operations import json

_CLASSES = "/v1/serviceclass"
_INSTANCES = "/v1/serviceinstance"


class BindingBody(Body):
    """How an instance is to be bound."""

    parameters: dict[str, Any] | None = None
    secret_parameters: list[str] | None = Field(default=None, alias="secretParameters")


class InstanceBody(Body):
    """A service instance as it is created."""

    name: str
    service_class: str = Field(alias="serviceClass")
    service_plan: str = Field(default=DEFAULT_PLAN, alias="servicePlan")
    parameters: dict[str, Any] | None = None
    secret_parameters: list[str] | None = Field(default=None, alias="secretParameters")
    binding: BindingBody | None = None
    tags: list[TagBody] | None = None


class Services:
    """The handlers of classes and instances."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("GET", _CLASSES, "list", SERVICE_CLASS, self.list_classes),
            Operation("GET", f"{_CLASSES}/{{name}}", "get", SERVICE_CLASS, self.get_class),
            Operation("POST", _INSTANCES, "create", SERVICE_INSTANCE, self.create),
            Operation("GET", _INSTANCES, "list", SERVICE_INSTANCE, self.list),
            Operation("GET", f"{_INSTANCES}/{{name}}", "get", SERVICE_INSTANCE, self.get),
            Operation("DELETE", f"{_INSTANCES}/{{name}}", "delete", SERVICE_INSTANCE, self.delete),
        ]

    async def list_classes(self, asked: Asked) -> Response:
        """List classes, of all brokers or of one."""
        broker = asked.query("broker")
        wanted_applications(asked.query_list("tags"))
        found = [_class_json(c) async for c in asked.objects.list(ServiceClass) if broker in {"", c.spec.broker}]
        return json(found)

    async def get_class(self, asked: Asked) -> Response:
        """Return a class."""
        return json(_class_json(await asked.objects.get(ServiceClass, asked.name)))

    async def create(self, asked: Asked) -> Response:
        """Ask for an instance; it is provisioned and bound afterwards."""
        body = await asked.body(InstanceBody)
        try:
            offered = await asked.objects.get(ServiceClass, body.service_class)
        except NotFound as error:
            raise BadRequest(f"Service class {body.service_class} does not exist") from error
        plan = offered.spec.plan(body.service_plan)
        if plan is None:
            raise BadRequest(f"Service plan {body.service_plan} does not exist in service class {body.service_class}")
        _require_fit(plan, "create", body)
        _require_fit(plan, "bind", body.binding)
        document: Document = {
            "serviceClass": body.service_class,
            "servicePlan": body.service_plan,
            "parameters": body.parameters,
            "secretParameters": body.secret_parameters,
            "binding": body.binding.model_dump(by_alias=True, exclude_none=True) if body.binding else None,
            "tags": tags_document(body.tags),
        }
        instance = ServiceInstance(metadata=ObjectMeta(name=body.name), spec=spec_of(ServiceInstanceSpec, document))
        try:
            return json(_json(await asked.objects.create(instance)), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"service instance {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List instances."""
        wanted = wanted_applications(asked.query_list("tags"))
        found = [i async for i in asked.objects.list(ServiceInstance) if has_application(i.spec.tags, wanted)]
        return json([_json(instance) for instance in found])

    async def get(self, asked: Asked) -> Response:
        """Return an instance; one without a binding, too."""
        wanted_applications(asked.query_list("tags"))
        return json(_json(await asked.objects.get(ServiceInstance, asked.name)))

    async def delete(self, asked: Asked) -> Response:
        """Let go of an instance: it is unbound and deprovisioned afterwards."""
        gone = await asked.objects.delete(ServiceInstance, asked.name)
        return json(_json(gone) | {"status": DELETING})


def _require_fit(plan: ServicePlan, part: Literal["create", "bind"], body: InstanceBody | BindingBody | None) -> None:
    """Refuse parameters that are against the schema of a plan; where Secrets add to them, that shows later."""
    if body is not None and body.secret_parameters:
        return
    try:
        failures = check_against(plan.schema_of(part))((body and body.parameters) or {})
    except SchemaError:
        return  # the class' fault: the instance will say so
    if failures:
        raise BadRequest(f"parameters of service plan {plan.name}: {failures}")


def _class_json(offered: ServiceClass) -> Document:
    spec = offered.spec
    return {
        "kind": "ServiceClass",
        "id": offered.uid,
        "name": offered.name,
        "broker": spec.broker,
        "description": spec.description,
        "bindable": spec.bindable,
        "plans": [{"kind": "ServicePlan", **to_document(plan)} for plan in spec.plans or ()],
        "status": offered.status.state,
    }


def _json(instance: ServiceInstance) -> Document:
    spec, status = instance.spec, instance.status
    return {
        "kind": "ServiceInstance",
        "id": instance.uid,
        "name": instance.name,
        "serviceClass": spec.service_class,
        "servicePlan": spec.service_plan,
        "parameters": spec.parameters,
        "secretParameters": spec.secret_parameters,
        "binding": _binding_json(instance, status.binding) if status.binding else None,
        "tags": tags_json(spec.tags),
        "reason": status.reason,
        "status": DELETING if instance.metadata.deletion_timestamp else status.state,
        "createdTime": seconds_of(instance.metadata.creation_timestamp),
    }


def _binding_json(instance: ServiceInstance, binding: ServiceBindingStatus) -> Document:
    wanted = instance.spec.binding
    return {
        "status": binding.state,
        "reason": binding.reason,
        "parameters": wanted.parameters if wanted else None,
        "secretParameters": wanted.secret_parameters if wanted else None,
        "bindingSecret": binding.secret,
        "createdTime": seconds_of(binding.created_time),
    }
