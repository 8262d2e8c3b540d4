"""The shapes that every kind shares: the base of all models, metadata, conditions, references.

Models are the schema and the typed view of a JSON document; the document itself (`Document`) is what is stored
and sent. Field docstrings are the descriptions that OpenAPI publishes and `kubectl explain` prints
(`server.model_schemas`).

Invariant: `to_document(from_document(document)) == document` for every document that `decode` returned.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Document = dict[str, Any]
"""A JSON object, as it travels and as it is stored."""


class Model(BaseModel):
    """Base of every part of every kind: camelCase on the wire, unknown fields refused, no type coercion."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,  # what is printed of an error must not hold a secret
        validate_assignment=False,
        defer_build=True,  # a command needs a handful of the hundreds of models: each is built when it is first used
    )


Item = TypeVar("Item")


def list_map(*keys: str) -> Any:
    """Annotate a list whose items are told apart by `keys` (server-side apply merges item by item)."""
    return Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


#: A list of distinct scalars, merged as a set.
LIST_SET = Field(json_schema_extra={"x-kubernetes-list-type": "set"})

#: A list that is replaced as a whole.
LIST_ATOMIC = Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})

#: The `model_config` of an object that is replaced as a whole.
MAP_ATOMIC = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})


@dataclass(frozen=True, slots=True)
class SecretField:
    """Marks a field whose value nobody may see who may not read the object."""


#: In `Annotated[str, SECRET_FIELD]`: encrypted at rest, and never quoted in an error (`api.secret_fields`).
SECRET_FIELD = SecretField()


@dataclass(frozen=True, slots=True)
class WriteOnlyField:
    """Marks a field whose value is taken and never given back."""


#: In `Annotated[str, SECRET_FIELD, WRITE_ONLY]`: no front door shows it. A kind with such fields says with
#: `Kind.keep_withheld` when an update that does not bring them keeps them.
WRITE_ONLY = WriteOnlyField()

#: A JSON object whose content is the user's own affair.
FreeForm = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]


@dataclass(frozen=True, slots=True)
class TimeField:
    """Marks a moment, which is checked where it is written (`api.times`)."""


#: A moment, RFC 3339; what we write is in UTC.
Time = Annotated[str, TimeField(), Field(json_schema_extra={"format": "date-time"})]

#: The sha256 that an artifact is kept by (`artifacts.digest`).
DigestText = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1, json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1, json_schema_extra={"format": "int64"})]
Port = Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})]


#: Owners of one object, and components that hold it or set fields of it.
METADATA_ITEMS_MAX = 1_000
#: The finalizer of an owner whose dependents go before it.
FOREGROUND_FINALIZER = "foregroundDeletion"
#: The finalizer of an owner whose dependents are to stay.
ORPHAN_FINALIZER = "orphan"


class OwnerReference(Model):
    """Names an object that owns this one; when all owners are gone, this object is collected."""

    model_config = MAP_ATOMIC

    api_version: str
    """API version of the owner."""
    kind: str
    """Kind of the owner."""
    name: str
    """Name of the owner."""
    uid: str
    """UID of the owner."""
    controller: bool | None = None
    """True if the owner is the managing controller."""
    block_owner_deletion: bool | None = None
    """True if a foreground deletion of the owner waits for this object."""


class ObjectMeta(Model):
    """Metadata that all persisted objects have; most of it is filled by the server."""

    name: str | None = None
    """Unique within a namespace; it can't be changed."""
    generate_name: str | None = None
    """A prefix from which the server makes a unique name, where no name is given."""
    namespace: str | None = None
    """The space within which the name must be unique; empty for cluster-scoped kinds."""
    self_link: str | None = None
    """Ignored; kept for old clients."""
    uid: str | None = None
    """Unique in time and space; filled by the server."""
    resource_version: str | None = None
    """The revision of the log at which this object was last written; opaque to clients."""
    generation: Int64 | None = None
    """Counts the changes of the desired state; filled by the server."""
    creation_timestamp: Time | None = None
    """When the object was created; filled by the server."""
    deletion_timestamp: Time | None = None
    """When the deletion was asked for; filled by the server."""
    deletion_grace_period_seconds: Int64 | None = None
    """Seconds allowed for a graceful end; filled by the server."""
    labels: dict[str, str] | None = None
    """Map of keys and values to organise and select objects."""
    annotations: dict[str, str] | None = None
    """Map of keys and values that tools keep beside an object; not queryable."""
    owner_references: Annotated[list[OwnerReference] | None, Field(max_length=METADATA_ITEMS_MAX), list_map("uid")] = (
        None
    )
    """The objects that this one depends on."""
    finalizers: Annotated[list[str] | None, Field(max_length=METADATA_ITEMS_MAX), LIST_SET] = None
    """Must be empty before the object is removed; each names a component that still has work to do."""
    managed_fields: Annotated[list[FreeForm] | None, Field(max_length=METADATA_ITEMS_MAX), LIST_ATOMIC] = None
    """Which manager set which fields; kept by the server."""


class Condition(Model):
    """One aspect of an object's present state."""

    type: Annotated[str, Field(max_length=316)]
    """Type of the condition, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this condition was made from."""
    last_transition_time: Time
    """When the status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """A word in CamelCase that tells the reason of the last change."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """The details, for a person."""


Conditions = Annotated[list[Condition] | None, list_map("type")]


#: When a condition was written that no controller has seen yet.
_NEVER = "1970-01-01T00:00:00Z"


def pending(condition_type: str) -> Condition:
    """Return the condition that an object carries until its controller has looked at it."""
    return Condition(
        type=condition_type,
        status="Unknown",
        reason="Pending",
        message="Waiting for controller",
        last_transition_time=_NEVER,
    )


class Resource(Model):
    """Base of every kind: what it is, and its metadata. Subclasses add `spec`, `status` or data."""

    api_version: str = ""
    """The versioned schema of this object, group/version."""
    kind: str = ""
    """The kind of this object."""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    """Standard object metadata."""

    @property
    def name(self) -> str:
        """The object's name; empty before one is given."""
        return self.metadata.name or ""

    @property
    def namespace(self) -> str:
        """The object's namespace; empty for a cluster-scoped kind."""
        return self.metadata.namespace or ""

    @property
    def uid(self) -> str:
        """The object's uid; empty before it is stored."""
        return self.metadata.uid or ""


M = TypeVar("M", bound=Model)
R = TypeVar("R", bound=Resource)


def made(model: type[M], values: Document) -> M:
    """Make a model of values that are as they should be: a third of the time that looking at them takes.

    Args:
        model: which one.
        values: by the names of the fields; all those that have no default of one value.
    """
    new = model.__new__(model)
    object.__setattr__(new, "__dict__", _defaults_of(model) | values)
    object.__setattr__(new, "__pydantic_fields_set__", set(values))
    object.__setattr__(new, "__pydantic_extra__", None)
    object.__setattr__(new, "__pydantic_private__", None)
    return new


@cache
def _defaults_of(model: type[Model]) -> Document:
    """Return the defaults of a model's fields, in their order, in which they are written."""
    fields = model.model_fields.items()
    return {name: None if field.is_required() or field.default_factory else field.default for name, field in fields}


def set_fields(model: Model, values: Document) -> None:
    """Set fields of a model to values that are as they should be: assignments take three calls of Python each.

    Args:
        model: that nobody shares.
        values: by the names of the fields.
    """
    model.__dict__.update(values)
    model.__pydantic_fields_set__.update(values)


def from_document(model: type[R], document: Document) -> R:
    """Read a stored document as its model; raises pydantic.ValidationError where it does not fit."""
    return model.model_validate(document, by_alias=True, by_name=False)


def to_document(model: Model) -> Document:
    """Write a model as a JSON document: camelCase, absent where None."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def condition_of(conditions: Iterable[Condition] | None, condition_type: str) -> Condition | None:
    """Return the condition of a type, or None."""
    return next((c for c in conditions or () if c.type == condition_type), None)


def is_true(conditions: Iterable[Condition] | None, condition_type: str) -> bool:
    """Tell whether a condition stands at True."""
    found = condition_of(conditions, condition_type)
    return found is not None and found.status == "True"


def with_condition(conditions: Iterable[Condition] | None, new: Condition) -> list[Condition]:
    """Return the conditions with one set: others kept, and the time that it has while its status stays."""
    kept = list(conditions or ())
    for index, old in enumerate(kept):
        if old.type == new.type:
            same = old.status == new.status and old.last_transition_time != _NEVER
            kept[index] = new.model_copy(update={"last_transition_time": old.last_transition_time}) if same else new
            return kept
    return [*kept, new]
