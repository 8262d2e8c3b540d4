"""What a definition must be."""

from typing import Any

import pytest

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.model import to_document
from skerry.testing.definitions import definition, established


def errors(document: Any, old: Any = None) -> list[str]:
    kind = CUSTOM_RESOURCE_DEFINITION
    try:
        stored = decode(kind, old).object if old else None
        if stored:
            kind.default(stored)
        complete(kind, decode(kind, document).object, stored)
    except Invalid as error:
        return [f"{cause['field']}: {cause['message']}" for cause in error.details["causes"]]
    return []


def changed(path: str, value: Any) -> Any:
    document: Any = definition()
    *parents, last = path.split(".")
    inner = document
    for step in parents:
        inner = inner[int(step)] if step.isdigit() else inner.setdefault(step, {})
    inner[last] = value
    return document


def test_a_sound_definition_is_accepted_and_completed():
    decoded = decode(CUSTOM_RESOURCE_DEFINITION, definition())
    assert decoded.unknown == ()
    complete(CUSTOM_RESOURCE_DEFINITION, decoded.object, None)
    names = to_document(decoded.object)["spec"]["names"]
    assert (names["singular"], names["listKind"]) == ("widget", "WidgetList")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("metadata.name", "other", 'metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group'),
        ("spec.scope", "Galaxy", 'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'),
        ("spec.names.kind", "", "spec.names.kind: Required value"),
        ("spec.names.listKind", "Widget", 'spec.names.listKind: Invalid value: "Widget": kind and listKind may not be'),
        ("spec.names.shortNames", ["W D"], 'spec.names.shortNames[0]: Invalid value: "W D": a DNS-1035 label must'),
        ("spec.conversion", {"strategy": "Webhook"}, 'spec.conversion.strategy: Unsupported value: "Webhook"'),
        ("spec.preserveUnknownFields", True, "spec.preserveUnknownFields: Invalid value: true: must be false"),
        ("spec.versions", [], "spec.versions: Required value: must have at least one version"),
        ("spec.versions.0.storage", False, "must have exactly one version marked as storage version"),
        ("spec.versions.0.schema", {}, "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"),
        ("spec.versions.0.deprecationWarning", "x", "can only be set for deprecated versions"),
        ("spec.versions.0.selectableFields", [{"jsonPath": ".spec.a[0]"}], "should be a simple json path"),
        ("spec.versions.0.selectableFields", [{"jsonPath": ".metadata.name"}], "must not point to fields in metadata"),
        ("spec.versions.0.additionalPrinterColumns", [{"name": "A", "type": "text", "jsonPath": ".a"}],
         'additionalPrinterColumns[0].type: Unsupported value: "text"'),
        ("spec.versions.0.additionalPrinterColumns", [{"name": "A", "type": "string", "jsonPath": ".a[0:1]"}],
         "additionalPrinterColumns[0].jsonPath: Invalid value"),
        ("spec.versions.0.subresources", {"scale": {"specReplicasPath": ".x.n", "statusReplicasPath": ".status.n"}},
         'subresources.scale.specReplicasPath: Invalid value: ".x.n": should be a json path under .spec'),
        ("spec.versions.0.schema.openAPIV3Schema.properties.spec.type", "text",
         "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Unsupported value"),
        ("spec.versions.0.schema.openAPIV3Schema.properties.spec.maxLength", -1,
         "spec.versions[0].schema.openAPIV3Schema.properties.spec.maxLength: Invalid value: -1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_path(path: str, value: Any, told: str):
    assert [error for error in errors(changed(path, value)) if told in error]


def test_groups_of_kubernetes_are_protected():
    [error] = errors(definition(group="things.k8s.io"))
    assert error.startswith("metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must")


def test_what_decides_about_storage_does_not_change_once_established():
    old = established(definition())
    old["status"]["conditions"][0] |= {"reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    old["status"]["storedVersions"] = ["v1"]
    new = definition(version="v2", names={"kind": "Gadget"})
    new["spec"]["scope"] = "Cluster"
    assert errors(new, old) == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Gadget": field is immutable',
        'status.storedVersions[0]: Invalid value: "v1": must appear in spec.versions',
    ]


def test_a_definition_that_does_not_change_is_not_judged_again():
    unsound = changed("spec.conversion", {"strategy": "Webhook"})
    assert errors(unsound, unsound) == []


def test_a_schema_keeps_its_numbers_and_its_words():
    schema = {"type": "object", "properties": {"not": {"type": "integer", "maximum": 3, "enum": [1, None]},
              "map": {"type": "object", "additionalProperties": True}}}  # fmt: skip
    decoded = decode(CUSTOM_RESOURCE_DEFINITION, definition(schema={"openAPIV3Schema": schema}))
    assert to_document(decoded.object)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == schema
    decoded = decode(CUSTOM_RESOURCE_DEFINITION, changed("spec.versions.0.schema.openAPIV3Schema.propertees", {}))
    assert decoded.unknown == ("spec.versions[0].schema.openAPIV3Schema.propertees",)
