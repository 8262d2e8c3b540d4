"""dispatch.skerry.dev/v1: services that functions use: brokers, the classes that they offer, and instances of those.

A class is offered by a broker that speaks the Open Service Broker API, or by nobody: its instances are user-provided,
and their credentials are what the class and the instance say. A binding belongs to its instance, one to each, as in
Dispatch; its credentials are a Secret. Who provisions is `controllers.dispatch_services`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.dispatch_events import validate_name, validate_tags
from skerry.api.dispatch_v1 import GROUP, VERSION, Names, State, Tag, validate_names
from skerry.api.fields import FieldError, forbidden, invalid, required, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, FreeForm, Int64, Model, Resource, Time, list_map

#: Holds an instance until its broker has let go of it.
FINALIZER = f"{GROUP}/service"
#: The plan of a class that names none.
DEFAULT_PLAN = "default"
PLANS_MAX = 100

Reasons = Annotated[list[str] | None, LIST_ATOMIC]


class ServiceBrokerSpec(Model):
    """Where a broker is."""

    url: str
    """Its address, before /v2: http or https."""
    auth_secret: str | None = None
    """A Secret with `username` and `password`, or with `token`."""


class ServiceBrokerStatus(Model):
    """The present state of a broker."""

    state: State | None = None
    """READY: its classes are as its catalogue says."""
    reason: Reasons = None
    """What is wrong with it."""
    observed_generation: Int64 | None = None
    """The generation that this status was made from."""


class ServiceBroker(Resource):
    """A broker of services, by the Open Service Broker API, version 2."""

    spec: ServiceBrokerSpec
    """Where it is."""
    status: ServiceBrokerStatus = Field(default_factory=ServiceBrokerStatus)
    """The present state."""


class PlanSchema(Model):
    """What parameters of a plan must be, as JSON Schemas."""

    create: FreeForm | None = None
    """Of an instance."""
    update: FreeForm | None = None
    """Of a changed instance."""
    bind: FreeForm | None = None
    """Of a binding."""


class ServicePlan(Model):
    """A form in which a service is offered."""

    name: str
    """Unique within the class."""
    id: str = ""
    """The broker's name for it."""
    description: str = ""
    """For people."""
    free: bool = True
    """Whether it costs nothing."""
    bindable: bool = True
    """Whether its instances have credentials."""
    metadata: FreeForm | None = None
    """More, for people."""
    plan_schema: Annotated[PlanSchema | None, Field(alias="schema")] = None
    """What parameters must be."""

    def schema_of(self, part: Literal["create", "bind"]) -> FreeForm | None:
        """Return what the parameters of an instance, or of a binding, must be; None for anything."""
        if self.plan_schema is None:
            return None
        return self.plan_schema.create if part == "create" else self.plan_schema.bind


class ServiceClassSpec(Model):
    """What is offered."""

    broker: str = ""
    """Name of the ServiceBroker; empty for user-provided services."""
    id: str = ""
    """The broker's name for it."""
    description: str = ""
    """For people."""
    bindable: bool = True
    """Whether instances have credentials, where the plan does not say it."""
    plans: Annotated[list[ServicePlan] | None, list_map("name")] = None
    """The forms in which it is offered; of a user-provided service one, default, where none is given."""
    parameters: FreeForm | None = None
    """Of a user-provided service: what every instance's credentials have; Skerry's own addition."""
    secret_parameters: Names = None
    """Likewise: Secrets whose values they have."""

    def plan(self, name: str) -> ServicePlan | None:
        """Return a plan by its name."""
        plans = self.plans or ([] if self.broker else [ServicePlan(name=DEFAULT_PLAN)])
        return next((plan for plan in plans if plan.name == name), None)


class ServiceClassStatus(Model):
    """The present state of a class."""

    state: State | None = None
    """READY: instances of it can be made."""


class ServiceClass(Resource):
    """A service that is offered."""

    spec: ServiceClassSpec
    """What is offered."""
    status: ServiceClassStatus = Field(default_factory=ServiceClassStatus)
    """The present state."""


class BindingSpec(Model):
    """How an instance is bound."""

    parameters: FreeForm | None = None
    """For the broker."""
    secret_parameters: Names = None
    """Secrets whose values are merged into the parameters."""


class ServiceInstanceSpec(Model):
    """Which service is wanted."""

    service_class: str
    """The class."""
    service_plan: str = DEFAULT_PLAN
    """The plan."""
    parameters: FreeForm | None = None
    """For the broker; of a user-provided service, its credentials."""
    secret_parameters: Names = None
    """Secrets whose values are merged into the parameters."""
    binding: BindingSpec | None = None
    """How it is bound."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""


class ServiceOperation(Model):
    """What a broker is still at."""

    act: Literal["provision", "bind", "unbind", "deprovision"]
    """What it was asked for."""
    token: str = ""
    """Its name for the operation."""
    since: Time
    """When it was asked."""


class ServiceBindingStatus(Model):
    """The present state of a binding."""

    state: State | None = None
    """READY: its credentials can be used."""
    reason: Reasons = None
    """Why they can't."""
    secret: str | None = None
    """The Secret that has them: it is named by the instance's uid."""
    created_time: Time | None = None
    """When they were made."""


class ServiceInstanceStatus(Model):
    """The present state of an instance."""

    state: State | None = None
    """READY: it is provisioned, and bound where its plan can be."""
    reason: Reasons = None
    """Why it is not."""
    broker: str | None = None
    """Who provisioned it, or is at it; what a class is later changes nothing here."""
    service_id: str | None = None
    """The broker's name for the class."""
    plan_id: str | None = None
    """The broker's name for the plan."""
    bindable: bool = False
    """Whether it has a binding."""
    provisioned: bool = False
    """Whether the broker has made it."""
    operation: ServiceOperation | None = None
    """What the broker is still at."""
    binding: ServiceBindingStatus | None = None
    """Its binding."""


class ServiceInstance(Resource):
    """An instance of a service, with its binding."""

    spec: ServiceInstanceSpec
    """Which service."""
    status: ServiceInstanceStatus = Field(default_factory=ServiceInstanceStatus)
    """The present state."""


def service_secrets(obj: ServiceBroker | ServiceClass | ServiceInstance) -> list[str]:
    """Return the names of the Secrets whose values go to a broker, or into credentials."""
    match obj:
        case ServiceBroker():
            return [obj.spec.auth_secret] if obj.spec.auth_secret else []
        case ServiceClass():
            return list(obj.spec.secret_parameters or ())
        case _:
            binding = obj.spec.binding
            return [*(obj.spec.secret_parameters or ()), *((binding.secret_parameters if binding else None) or ())]


def _validate_broker(broker: ServiceBroker, _: ServiceBroker | None) -> Iterator[FieldError]:
    yield from validate_name(broker)
    if not broker.spec.url.startswith(("http://", "https://")):
        yield invalid("spec.url", broker.spec.url, "must begin with http:// or https://")


def _validate_class(offered: ServiceClass, _: ServiceClass | None) -> Iterator[FieldError]:
    spec = offered.spec
    yield from validate_name(offered)
    if spec.plans and len(spec.plans) > PLANS_MAX:
        yield too_many("spec.plans", len(spec.plans), PLANS_MAX)
    yield from validate_names(spec.secret_parameters, "spec.secretParameters")
    if spec.broker and (spec.parameters or spec.secret_parameters):
        yield forbidden("spec.parameters", "the credentials of a broker's service are the broker's")


def _validate_instance(instance: ServiceInstance, old: ServiceInstance | None) -> Iterator[FieldError]:
    spec = instance.spec
    yield from validate_name(instance)
    for name, value in (("serviceClass", spec.service_class), ("servicePlan", spec.service_plan)):
        if not value:
            yield required(f"spec.{name}")
    yield from validate_names(spec.secret_parameters, "spec.secretParameters")
    yield from validate_names(spec.binding.secret_parameters if spec.binding else None, "spec.binding.secretParameters")
    yield from validate_tags(spec.tags, "spec.tags")
    if old is not None and spec.model_copy(update={"tags": None}) != old.spec.model_copy(update={"tags": None}):
        yield forbidden("spec", "an instance can't be changed: delete it, and make another one")


def _default_class(offered: ServiceClass) -> None:
    offered.status.state = "READY"


def _default_instance(instance: ServiceInstance) -> None:
    instance.status.state = instance.status.state or "INITIALIZED"


def _default_broker(broker: ServiceBroker) -> None:
    broker.status.state = broker.status.state or "INITIALIZED"


SERVICE_BROKER = Kind(
    group=GROUP,
    version=VERSION,
    model=ServiceBroker,
    plural="servicebrokers",
    namespaced=True,
    columns=(
        Column("URL", value_at(".spec.url"), description="Where it is."),
        Column("Status", value_at(".status.state"), description="READY where its catalogue was read."),
    ),
    name_format="path-segment",
    default=_default_broker,
    validate=_validate_broker,
    read_by="view",  # written by cluster-admin alone: the control plane sends requests, and credentials, to its URL
)

SERVICE_CLASS = Kind(
    group=GROUP,
    version=VERSION,
    model=ServiceClass,
    plural="serviceclasses",
    namespaced=True,
    columns=(
        Column("Broker", value_at(".spec.broker"), description="Who offers it."),
        Column("Bindable", value_at(".spec.bindable"), type="boolean", description="Whether there are credentials."),
        Column("Status", value_at(".status.state"), description="READY where instances can be made."),
    ),
    name_format="path-segment",
    default=_default_class,
    validate=_validate_class,
    read_by="view",
    written_by="edit",
)

SERVICE_INSTANCE = Kind(
    group=GROUP,
    version=VERSION,
    model=ServiceInstance,
    plural="serviceinstances",
    namespaced=True,
    columns=(
        Column("Class", value_at(".spec.serviceClass"), description="Of what."),
        Column("Plan", value_at(".spec.servicePlan"), description="In which form."),
        Column("Provisioned", value_at(".status.provisioned"), type="boolean", description="Whether it is made."),
        Column("Bound", value_at(".status.binding.state"), description="READY where there are credentials."),
        Column("Status", value_at(".status.state"), description="READY where it can be used."),
    ),
    name_format="path-segment",
    default=_default_instance,
    validate=_validate_instance,
    read_by="view",
    written_by="edit",
    deletion_finalizers=(FINALIZER,),
)
