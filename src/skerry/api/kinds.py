"""What a kind is: one declaration from which routes, discovery, OpenAPI, tables and checks follow.

A kind that Skerry brings is declared by a model; one that a user defines, by a structural schema over a model that
takes anything (`custom_kinds`). To add a kind of ours: one module (or one more declaration in its group's module) and
one line in `registry.KINDS`; docs/how-to/add-a-kind.md walks through it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

from skerry.api.fields import FieldError
from skerry.api.json_path import JsonPath, json_path
from skerry.api.model import Document, R
from skerry.api.names import NameFormat
from skerry.api.structural.schema import Schema

ColumnType = Literal["string", "integer", "number", "boolean", "date"]

DefaultRole = Literal["view", "edit", "admin"]
"""The roles that are given to people; each holds what the one before holds."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table that `kubectl get` prints.

    Attributes:
        name: the heading.
        value: the cell, from the stored document; None prints as an empty cell. A `date` is an RFC 3339 string,
            shown as an age.
        type: JSON type of the cell, or "date".
        description: what the cell tells.
        priority: 0 always shown; above 0 only with `-o wide`.
    """

    name: str
    value: Callable[[Document], Any]
    type: ColumnType = "string"
    description: str = ""
    priority: int = 0


def _nothing_to_default(_: Any) -> None:
    """A kind without computed defaults."""


def _nothing_withheld(_: Any, __: Any) -> None:
    """A kind that shows all of its fields."""


def _nothing_to_check(_: Any, __: Any) -> Iterable[FieldError]:
    """A kind whose model says all of its rules."""
    return ()


@dataclass(frozen=True, slots=True)
class KindNames:
    """What a kind, one of its objects, and a list of them are called."""

    kind: str
    singular: str
    list: str


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource of a kind finds its numbers.

    Attributes:
        replicas: the wanted number, a path of names.
        present: the present number.
        selector: the selector of what is counted, as text; None where there is none.
    """

    replicas: JsonPath
    present: JsonPath
    selector: JsonPath | None = None


@dataclass(frozen=True, slots=True)
class Kind(Generic[R]):
    """A kind of object, as data.

    Attributes:
        group: API group; "" for core.
        version: API version, such as "v1alpha2".
        model: the pydantic model of the whole object. Its class name is the kind's name.
        plural: the resource name in paths.
        namespaced: whether objects live in namespaces.
        short_names: what `kubectl get` also understands.
        categories: such as "all".
        columns: between Name and Age in tables.
        name_format: the rule for metadata.name.
        default: completes a decoded object in place: what the model's own field defaults can't say.
        validate: yields every broken rule of a complete object; the second argument is the stored object on
            updates, else None.
        keep_withheld: takes over from the stored object, the second argument, what the first one, an update, could not
            bring because it is never shown (`WRITE_ONLY`); before `default`.
        prepare_create: fills fields that the server owns, in place, on create.
        warnings: sentences for the caller that do not refuse the object.
        selectable: field selectors beyond metadata.name and metadata.namespace, from the stored document.
        subresources: paths below an object besides those that follow from the model ("status").
        core_semantics: as Kubernetes' built-in kinds: strategic merge patch, updates without a
            resourceVersion allowed, no generation.
        read_by: the least of the default roles that may read objects; None for cluster-admin alone.
        written_by: the least of them that may create, change and delete objects, their status aside; likewise.
        schema: the structural schema, where the model takes anything; None where the model is the schema.
        versions: every version under which objects of this resource may be stored, that of new writes first; () for
            this one alone. They differ in `apiVersion` only.
        names: where they do not follow from the model's.
        ages: whether tables end with the column Age; not where the columns tell the creation time themselves.
        scale: where the /scale subresource finds its numbers; None for no such subresource.
        deletion_finalizers: what a delete puts on an object, so that a controller can finish first.
        verbatim: paths of the fields that hold any JSON of a user's, in which null is a value and not an absence.
        resource: the resource's full name, `plural.group`: unique among kinds, and their key in the log. It follows
            from the others.
    """

    group: str
    version: str
    model: type[R]
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    name_format: NameFormat = "subdomain"
    default: Callable[[R], None] = _nothing_to_default
    validate: Callable[[R, R | None], Iterable[FieldError]] = _nothing_to_check
    keep_withheld: Callable[[R, R], None] = _nothing_withheld
    prepare_create: Callable[[R], None] = _nothing_to_default
    warnings: Callable[[R], Iterable[str]] = field(default=lambda _: ())
    selectable: Mapping[str, Callable[[Document], str]] = field(default_factory=dict)
    subresources: tuple[str, ...] = ()
    core_semantics: bool = False
    read_by: DefaultRole | None = None
    written_by: DefaultRole | None = None
    schema: Schema | None = None
    versions: tuple[str, ...] = ()
    names: KindNames | None = None
    ages: bool = True
    scale: ScalePaths | None = None
    deletion_finalizers: tuple[str, ...] = ()
    verbatim: tuple[tuple[str, str], ...] = ()
    resource: str = field(init=False)

    def __post_init__(self) -> None:
        """Make the name once by which each request finds nearly everything."""
        object.__setattr__(self, "resource", f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def kind(self) -> str:
        """The kind's name, such as `EdgeFunction`."""
        return self.names.kind if self.names else self.model.__name__

    @property
    def singular(self) -> str:
        """The resource's singular name, in lower case."""
        return self.names.singular if self.names else self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of a list of objects, such as `EdgeFunctionList`."""
        return self.names.list if self.names else f"{self.kind}List"

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone for core."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def stored_api_version(self) -> str:
        """The `apiVersion` in which objects are stored."""
        return f"{self.group}/{self.versions[0]}" if self.versions else self.api_version

    @property
    def root_path(self) -> str:
        """The path of the group and version, such as `/apis/extensions.apoxy.dev/v1alpha2`."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def has_status(self) -> bool:
        """Whether there is a `/status` subresource, written apart from the rest."""
        return "status" in self.model.model_fields

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, an object or a subresource."""
        parts = [self.root_path]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


def age_of(document: Document) -> str | None:
    """The creation time of a stored object, for the Age column."""
    created = document.get("metadata", {}).get("creationTimestamp")
    return str(created) if created else None


def value_at(path: str) -> JsonPath:
    """Return a reader of one field by its path, such as `.status.liveRevision`; None where it is absent."""
    return json_path(path)


def condition_status(condition_type: str) -> JsonPath:
    """Return a reader of one condition's status: `True`, `False`, `Unknown`, or None where it is not there."""
    return json_path(f'.status.conditions[?(@.type=="{condition_type}")].status')
