"""apiextensions.k8s.io/v1: CustomResourceDefinition, by which kinds are made that Skerry does not bring.

Owns the shape of a definition and its declaration as a kind. What a definition must be stands in `apiextensions_rules`,
what becomes of it in `custom_kinds`, and who writes its status in `controllers.definitions`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from skerry.api.apiextensions_rules import default_definition, definition_errors
from skerry.api.fields import FieldError
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Condition, FreeForm, Int32, Int64, Model, Resource, list_map, to_document

GROUP = "apiextensions.k8s.io"
#: The finalizer that holds a definition until the last of its objects is gone.
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


def _schema_or_bool(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    return value if isinstance(value, bool) else handler(value)


#: A number as it was written: an integer stays one.
Number = Annotated[Any, AfterValidator(_number), WithJsonSchema({"type": "number"})]
AnyValue = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]


class ValidationRule(Model):
    """A rule in the Common Expression Language."""

    rule: str
    """The expression; `self` is the value at this place, `oldSelf` the stored one."""
    message: str | None = None
    """Told where the rule does not hold."""
    message_expression: str | None = None
    """An expression that makes the message."""
    reason: str | None = None
    """The reason of the error: FieldValueInvalid, FieldValueForbidden, FieldValueRequired or FieldValueDuplicate."""
    field_path: str | None = None
    """The field that the error names, relative to this place."""
    optional_old_self: bool | None = None
    """If true, the rule also runs where there is no stored value; oldSelf is then an optional."""


class JSONSchemaProps(Model):
    """A JSON schema, as structural schemas use it."""

    id: str | None = None
    """Not supported."""
    schema_: Annotated[str | None, Field(alias="$schema")] = None
    """The dialect; ignored."""
    ref: Annotated[str | None, Field(alias="$ref")] = None
    """Not supported."""
    description: str | None = None
    """What the field is, for `kubectl explain`."""
    type: str | None = None
    """The JSON type."""
    format: str | None = None
    """A format of text or integers; those that are not known are told and not checked."""
    title: str | None = None
    """A heading."""
    default: AnyValue = None
    """The value of a field that is left out."""
    maximum: Number | None = None
    """The largest number."""
    exclusive_maximum: bool | None = None
    """Whether the largest number is itself too large."""
    minimum: Number | None = None
    """The smallest number."""
    exclusive_minimum: bool | None = None
    """Whether the smallest number is itself too small."""
    max_length: Annotated[Int64, Field(ge=0)] | None = None
    """The most characters."""
    min_length: Annotated[Int64, Field(ge=0)] | None = None
    """The fewest characters."""
    pattern: str | None = None
    """An expression (RE2) that text must match somewhere."""
    max_items: Annotated[Int64, Field(ge=0)] | None = None
    """The most items."""
    min_items: Annotated[Int64, Field(ge=0)] | None = None
    """The fewest items."""
    unique_items: bool | None = None
    """May not be true: use x-kubernetes-list-type."""
    multiple_of: Number | None = None
    """What a number must be a multiple of."""
    enum: Annotated[list[AnyValue] | None, LIST_ATOMIC] = None
    """The values that are accepted."""
    max_properties: Annotated[Int64, Field(ge=0)] | None = None
    """The most fields."""
    min_properties: Annotated[Int64, Field(ge=0)] | None = None
    """The fewest fields."""
    required: Annotated[list[str] | None, LIST_ATOMIC] = None
    """The fields that must be there."""
    items: "JSONSchemaProps | None" = None
    """The schema of every item of a list."""
    all_of: Annotated["list[JSONSchemaProps] | None", LIST_ATOMIC] = None
    """All of them must hold."""
    one_of: Annotated["list[JSONSchemaProps] | None", LIST_ATOMIC] = None
    """Exactly one of them must hold."""
    any_of: Annotated["list[JSONSchemaProps] | None", LIST_ATOMIC] = None
    """At least one of them must hold."""
    not_: Annotated["JSONSchemaProps | None", Field(alias="not")] = None
    """Must not hold."""
    properties: "dict[str, JSONSchemaProps] | None" = None
    """The fields of an object."""
    additional_properties: Annotated[SerializeAsAny["JSONSchemaProps"] | None, WrapValidator(_schema_or_bool)] = None
    """The schema of an object's values, where its names are data."""
    pattern_properties: "dict[str, JSONSchemaProps] | None" = None
    """Not supported."""
    dependencies: FreeForm | None = None
    """Not supported."""
    additional_items: AnyValue = None
    """Not supported."""
    definitions: "dict[str, JSONSchemaProps] | None" = None
    """Not supported."""
    external_docs: FreeForm | None = None
    """A document about the field."""
    example: AnyValue = None
    """An example; ignored."""
    nullable: bool | None = None
    """Whether null is a value."""
    preserve_unknown_fields: Annotated[bool | None, Field(alias="x-kubernetes-preserve-unknown-fields")] = None
    """Whether fields that are not specified are kept."""
    embedded_resource: Annotated[bool | None, Field(alias="x-kubernetes-embedded-resource")] = None
    """Whether the object has apiVersion, kind and metadata."""
    int_or_string: Annotated[bool | None, Field(alias="x-kubernetes-int-or-string")] = None
    """Whether the value is an integer or text."""
    list_map_keys: Annotated[
        list[str] | None,
        Field(alias="x-kubernetes-list-map-keys", json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = None
    """What tells the items of a list apart."""
    list_type: Annotated[str | None, Field(alias="x-kubernetes-list-type")] = None
    """How a list merges: atomic, set or map."""
    map_type: Annotated[str | None, Field(alias="x-kubernetes-map-type")] = None
    """How an object merges: granular or atomic."""
    validations: Annotated[
        list[ValidationRule] | None,
        Field(
            alias="x-kubernetes-validations",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["rule"]},
        ),
    ] = None
    """Rules in the Common Expression Language."""


class CustomResourceValidation(Model):
    """How objects of a version are validated."""

    open_api_v3_schema: Annotated[JSONSchemaProps | None, Field(alias="openAPIV3Schema")] = None
    """The structural schema of the objects."""


class CustomResourceSubresourceScale(Model):
    """Where the scale subresource finds its numbers."""

    spec_replicas_path: str
    """The path of the wanted number, under .spec."""
    status_replicas_path: str
    """The path of the present number, under .status."""
    label_selector_path: str | None = None
    """The path of a selector as text, under .spec or .status."""


class CustomResourceSubresources(Model):
    """The subresources of a version."""

    status: FreeForm | None = None
    """Gives objects a /status subresource."""
    scale: CustomResourceSubresourceScale | None = None
    """Gives objects a /scale subresource."""


class CustomResourceColumnDefinition(Model):
    """A column of the table that kubectl prints."""

    name: str
    """The heading."""
    type: str
    """integer, number, string, boolean or date."""
    format: str | None = None
    """The format of the type; told to clients."""
    description: str | None = None
    """What the column tells."""
    priority: Int32 | None = None
    """0 is always shown; higher ones only with -o wide."""
    json_path: Annotated[str, Field(alias="jsonPath")]
    """Where the value is."""


class SelectableField(Model):
    """A field that field selectors may use."""

    json_path: Annotated[str, Field(alias="jsonPath")]
    """Where the value is."""


class CustomResourceDefinitionVersion(Model):
    """One version of a custom kind."""

    name: str
    """Such as v1 or v1beta1."""
    served: bool
    """Whether it can be used."""
    storage: bool
    """Whether objects are stored in it; so is exactly one."""
    deprecated: bool | None = None
    """Whether writers are warned."""
    deprecation_warning: str | None = None
    """The warning, in place of the usual one."""
    schema_: Annotated[CustomResourceValidation | None, Field(alias="schema")] = None
    """How objects are validated."""
    subresources: CustomResourceSubresources | None = None
    """Subresources of the objects."""
    additional_printer_columns: Annotated[list[CustomResourceColumnDefinition] | None, LIST_ATOMIC] = None
    """The columns that kubectl prints."""
    selectable_fields: Annotated[list[SelectableField] | None, LIST_ATOMIC] = None
    """The fields that field selectors may use."""


class CustomResourceDefinitionNames(Model):
    """The names of a custom kind."""

    plural: str = ""
    """The name in paths."""
    singular: str | None = None
    """The name of one. Defaults to the kind in lower case."""
    short_names: Annotated[list[str] | None, LIST_ATOMIC] = None
    """What kubectl understands besides."""
    kind: str = ""
    """The name in documents."""
    list_kind: str | None = None
    """The kind of lists. Defaults to the kind and `List`."""
    categories: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Groups of kinds, such as `all`."""


class CustomResourceConversion(Model):
    """How objects are brought from one version to another."""

    strategy: str = "None"
    """None: only the apiVersion differs. Webhook is not supported."""
    webhook: FreeForm | None = None
    """Not supported."""


class CustomResourceDefinitionSpec(Model):
    """What a custom kind is."""

    group: str
    """The API group."""
    names: CustomResourceDefinitionNames
    """Its names."""
    scope: Literal["Cluster", "Namespaced"]
    """Whether objects live in namespaces."""
    versions: Annotated[list[CustomResourceDefinitionVersion], LIST_ATOMIC]
    """Its versions."""
    conversion: CustomResourceConversion = Field(default_factory=CustomResourceConversion)
    """How objects are brought from one version to another."""
    preserve_unknown_fields: bool | None = None
    """May not be true."""


class CustomResourceDefinitionStatus(Model):
    """What became of a definition."""

    conditions: Annotated[list[Condition] | None, list_map("type")] = None
    """NamesAccepted, Established and Terminating."""
    accepted_names: CustomResourceDefinitionNames | None = None
    """The names that are served."""
    stored_versions: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Versions in which objects were ever stored."""


class CustomResourceDefinition(Resource):
    """Makes a kind of its own, with storage, validation and everything that other kinds have."""

    spec: CustomResourceDefinitionSpec
    """The kind."""
    status: CustomResourceDefinitionStatus = Field(default_factory=CustomResourceDefinitionStatus)
    """What became of it."""


def _default(definition: CustomResourceDefinition) -> None:
    default_definition(definition.spec.names)


def _validate(definition: CustomResourceDefinition, old: CustomResourceDefinition | None) -> list[FieldError]:
    if old is not None and definition.spec == old.spec:
        return []  # what is there may end, or be labelled, whatever the rules are by now
    return definition_errors(to_document(definition), to_document(old) if old else None)


CUSTOM_RESOURCE_DEFINITION = Kind(
    group=GROUP,
    version="v1",
    model=CustomResourceDefinition,
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    columns=(Column("Created At", value_at(".metadata.creationTimestamp"), description="When it was made."),),
    ages=False,
    default=_default,
    validate=_validate,
    deletion_finalizers=(CLEANUP_FINALIZER,),
)
