"""What a definition must be, beside its schemas: names, versions, columns, paths, and what may change.

Works on the document of a definition. Words: k8s.io/apiextensions-apiserver, pkg/apis/apiextensions/validation. Pure.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from skerry.api.fields import FieldError, forbidden, invalid, not_supported, required, too_many
from skerry.api.json_path import json_path
from skerry.api.model import Document
from skerry.api.names import is_subdomain
from skerry.api.structural.rules import schema_errors

VERSIONS_MAX = 16
COLUMNS_MAX = 64
#: Kubernetes' own number.
SELECTABLE_FIELDS_MAX = 8

_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_LABEL_1035}')"
)
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_APPROVED = "api-approved.kubernetes.io"
_PROTECTED = (".k8s.io", ".kubernetes.io")


class Names(Protocol):
    """The names of a definition."""

    kind: str
    singular: str | None
    list_kind: str | None


def default_definition(names: Names) -> None:
    """Fill in the names that follow from the kind."""
    names.singular = names.singular or names.kind.lower() or None
    names.list_kind = names.list_kind or (f"{names.kind}List" if names.kind else None)


def definition_errors(definition: Document, old: Document | None) -> list[FieldError]:
    """Return every broken rule of a definition; `old` is the stored one, on updates."""
    spec = definition["spec"]
    return [
        *_place_errors(definition),
        *_names_errors(spec["names"]),
        *_versions_errors(spec["versions"]),
        *_conversion_errors(spec),
        *(_change_errors(definition, old) if old else ()),
        *_versions_content_errors(spec["versions"], old),
    ]


def _place_errors(definition: Document) -> Iterator[FieldError]:
    spec, metadata = definition["spec"], definition["metadata"]
    group = spec["group"]
    if not group:
        yield required("spec.group")
    elif not is_subdomain(group):
        yield invalid("spec.group", group, "must be a lowercase RFC 1123 subdomain")
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    if metadata.get("name") != f"{spec['names'].get('plural', '')}.{group}":
        yield invalid("metadata.name", metadata.get("name"), 'must be spec.names.plural+"."+spec.group')
    if f".{group}".endswith(_PROTECTED) and not (metadata.get("annotations") or {}).get(_APPROVED):
        told = (
            f'protected groups must have approval annotation "{_APPROVED}", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield required(f"metadata.annotations[{_APPROVED}]", told)


def _label_errors(path: str, value: str, prefix: str = "") -> Iterator[FieldError]:
    if len(value) > 63:
        yield invalid(path, value, "must be no more than 63 characters")
    if not re.fullmatch(_LABEL_1035, value):
        yield invalid(path, value, prefix + _LABEL_1035_MESSAGE)


def _names_errors(names: Document) -> Iterator[FieldError]:
    mixed = "may have mixed case, but should otherwise match: "
    for name in ("plural", "singular", "kind", "listKind"):
        value = names.get(name, "")
        if not value:
            yield required(f"spec.names.{name}")
        elif name in {"kind", "listKind"}:
            yield from _label_errors(f"spec.names.{name}", value.lower(), mixed)
        else:
            yield from _label_errors(f"spec.names.{name}", value)
    if names.get("kind") and names["kind"] == names.get("listKind"):
        yield invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
    for field in ("shortNames", "categories"):
        for index, value in enumerate(names.get(field) or ()):
            yield from _label_errors(f"spec.names.{field}[{index}]", value)


def _versions_errors(versions: list[Document]) -> Iterator[FieldError]:
    if not versions:
        yield required("spec.versions", "must have at least one version")
        return
    if len(versions) > VERSIONS_MAX:
        yield too_many("spec.versions", len(versions), VERSIONS_MAX)
    names = [version["name"] for version in versions]
    for index, name in enumerate(names):
        yield from _label_errors(f"spec.versions[{index}].name", name)
    if len(set(names)) < len(names):
        yield invalid("spec.versions", names, "must contain unique version names")
    if sum(version["storage"] for version in versions) != 1:
        yield invalid("spec.versions", names, "must have exactly one version marked as storage version")


def _conversion_errors(spec: Document) -> Iterator[FieldError]:
    conversion = spec.get("conversion") or {}
    if conversion.get("strategy", "None") != "None":
        told = conversion["strategy"]
        yield not_supported("spec.conversion.strategy", told, ("None",))
    if conversion.get("webhook"):
        yield forbidden("spec.conversion.webhook", "conversion by webhooks is not supported: use strategy None")
    if spec.get("preserveUnknownFields"):
        told = "must be false: use x-kubernetes-preserve-unknown-fields in the schema"
        yield invalid("spec.preserveUnknownFields", value=True, detail=told)


def _change_errors(definition: Document, old: Document) -> Iterator[FieldError]:
    spec, before = definition["spec"], old["spec"]
    for path, read in (("spec.group", _group), ("spec.names.plural", _plural)):
        if read(spec) != read(before):
            yield invalid(path, read(spec), "field is immutable")
    conditions = (old.get("status") or {}).get("conditions") or ()
    established = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
    if established and spec["scope"] != before["scope"]:
        yield invalid("spec.scope", spec["scope"], "field is immutable")
    if established and spec["names"].get("kind") != before["names"].get("kind"):
        yield invalid("spec.names.kind", spec["names"].get("kind"), "field is immutable")
    names = {version["name"] for version in spec["versions"]}
    for index, stored in enumerate((old.get("status") or {}).get("storedVersions") or ()):
        if stored not in names:
            yield invalid(f"status.storedVersions[{index}]", stored, "must appear in spec.versions")


def _group(spec: Document) -> Any:
    return spec["group"]


def _plural(spec: Document) -> Any:
    return spec["names"].get("plural")


def _versions_content_errors(versions: list[Document], old: Document | None) -> Iterator[FieldError]:
    """Check what is in each version; a schema that did not change was sound when it came, and is not checked again."""
    before = {version["name"]: version.get("schema") for version in old["spec"]["versions"]} if old else {}
    for index, version in enumerate(versions[:VERSIONS_MAX]):
        path = f"spec.versions[{index}]"
        schema = version.get("schema")
        if not schema or schema.get("openAPIV3Schema") is None:
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        elif before.get(version["name"]) != schema:
            yield from schema_errors(schema["openAPIV3Schema"], f"{path}.schema.openAPIV3Schema")
        yield from _columns_errors(version.get("additionalPrinterColumns") or (), f"{path}.additionalPrinterColumns")
        yield from _selectable_errors(version.get("selectableFields") or (), f"{path}.selectableFields")
        if scale := (version.get("subresources") or {}).get("scale"):
            yield from _scale_errors(scale, f"{path}.subresources.scale")
        if version.get("deprecationWarning") and not version.get("deprecated"):
            yield invalid(
                f"{path}.deprecationWarning", version["deprecationWarning"], "can only be set for deprecated versions"
            )


def _columns_errors(columns: Iterable[Document], path: str) -> Iterator[FieldError]:
    columns = list(columns)
    if len(columns) > COLUMNS_MAX:
        yield too_many(path, len(columns), COLUMNS_MAX)
    for index, column in enumerate(columns):
        at = f"{path}[{index}]"
        if not column["name"]:
            yield required(f"{at}.name")
        if column["type"] not in _COLUMN_TYPES:
            yield not_supported(f"{at}.type", column["type"], _COLUMN_TYPES)
        yield from _path_errors(f"{at}.jsonPath", column["jsonPath"])


def _path_errors(path: str, value: str) -> Iterator[FieldError]:
    try:
        json_path(value)
    except ValueError as error:
        yield invalid(path, value, str(error))


def _selectable_errors(fields: Iterable[Document], path: str) -> Iterator[FieldError]:
    fields = list(fields)
    if len(fields) > SELECTABLE_FIELDS_MAX:
        yield too_many(path, len(fields), SELECTABLE_FIELDS_MAX)
    for index, field in enumerate(fields):
        yield from _plain_path_errors(f"{path}[{index}].jsonPath", field["jsonPath"], ("",))


def _scale_errors(scale: Document, path: str) -> Iterator[FieldError]:
    yield from _plain_path_errors(f"{path}.specReplicasPath", scale["specReplicasPath"], ("spec",))
    yield from _plain_path_errors(f"{path}.statusReplicasPath", scale["statusReplicasPath"], ("status",))
    if scale.get("labelSelectorPath"):
        yield from _plain_path_errors(f"{path}.labelSelectorPath", scale["labelSelectorPath"], ("spec", "status"))


def _plain_path_errors(path: str, value: str, parents: tuple[str, ...]) -> Iterator[FieldError]:
    """Check a path of names alone, under one of some fields ("" for any but metadata)."""
    try:
        names = json_path(value).names if value.startswith(".") else None
    except ValueError:
        names = None
    if names is None:
        yield invalid(path, value, "should be a simple json path")
    elif parents == ("",) and names[0] == "metadata":
        yield invalid(path, value, "must not point to fields in metadata")
    elif parents != ("",) and (len(names) < 2 or names[0] not in parents):
        listed = " or ".join(f".{parent}" for parent in parents)
        yield invalid(path, value, f"should be a json path under {listed}")
