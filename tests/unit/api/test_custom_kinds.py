"""From definitions to kinds, and the catalogue that holds them."""

import pytest

from skerry.api.catalogue import Catalogue
from skerry.api.custom_kinds import kinds_of
from skerry.api.decoding import decode
from skerry.api.errors import Invalid
from skerry.api.model import to_document
from skerry.api.registry import DEFINED_KINDS, KINDS
from skerry.testing.definitions import definition, established


def test_a_definition_makes_kinds_once_it_is_established():
    assert kinds_of(definition()) == ()
    (kind,) = kinds_of(established(definition()))
    assert (kind.group, kind.version, kind.kind, kind.list_kind) == ("example.com", "v1", "Widget", "WidgetList")
    assert (kind.plural, kind.singular, kind.short_names) == ("widgets", "widget", ("wd",))
    assert kind.path("team", "a", "status") == "/apis/example.com/v1/namespaces/team/widgets/a/status"


def test_it_is_served_by_the_names_that_were_accepted():
    accepted = established(definition())
    accepted["status"]["acceptedNames"]["shortNames"] = []
    assert kinds_of(accepted)[0].short_names == ()


def test_versions_are_ordered_as_kubernetes_prefers_them():
    names = ["v1alpha1", "v2", "v1beta2", "v1", "odd", "v10", "v1beta10"]
    versions = [{**definition()["spec"]["versions"][0], "name": name, "storage": name == "v1"} for name in names]
    several = definition(versions=versions)
    kinds = kinds_of(established(several))
    assert [kind.version for kind in kinds] == ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "odd"]
    assert {kind.stored_api_version for kind in kinds} == {"example.com/v1"}
    versions[0]["served"] = False
    assert len(kinds_of(established(several))) == len(names) - 1


def test_columns_print_all_values_of_a_path():
    columns = [
        {"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts[*]"},
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    ]
    (kind,) = kinds_of(established(definition(additionalPrinterColumns=columns)))
    hosts, size = kind.columns
    assert (hosts.value({"spec": {"hosts": ["a", "b"]}}), hosts.value({})) == ("a b", None)
    assert (size.value({"spec": {"size": 3}}), kind.ages) == (3, False)


def test_an_object_is_pruned_completed_and_validated_as_its_schema_says():
    (kind,) = kinds_of(established(definition()))
    decoded = decode(kind, {"metadata": {"name": "a", "bogus": 1}, "spec": {"size": 1, "bogus": 1}, "x": 1})
    assert decoded.unknown == ("metadata.bogus", "spec.bogus", "x")
    assert to_document(decoded.object)["spec"] == {"size": 1, "color": "red"}
    with pytest.raises(Invalid) as refused:
        decode(kind, {"metadata": {"name": 1}, "spec": {"size": "x", "color": "green"}})
    fields = [cause["field"] for cause in refused.value.details["causes"]]
    assert fields == ["metadata.name", "spec.size", "spec.color"]


def test_what_a_stored_object_has_of_another_schema_is_dropped_in_silence():
    (kind,) = kinds_of(established(definition()))
    old = {"metadata": {"name": "a"}, "spec": {"size": 99, "former": 1}}
    decoded = decode(kind, {"metadata": {"name": "a"}, "spec": {"size": 99, "former": 1, "bogus": 1}}, old)
    assert decoded.unknown == ("spec.bogus",)
    with pytest.raises(Invalid):
        decode(kind, {"metadata": {"name": "a"}, "spec": {"size": 98}}, old)


def test_the_catalogue_swaps_whole_snapshots_and_tells_of_it():
    catalogue = Catalogue(KINDS)
    told: list[int] = []
    catalogue.on_change(lambda: told.append(len(catalogue.current.all)))
    before = catalogue.current
    catalogue.put("widgets.example.com", kinds_of(established(definition())))
    assert before.find("example.com", "v1", "widgets") is None
    found = catalogue.current.find("example.com", "v1", "widgets")
    assert found is catalogue.current.of_resources["widgets.example.com"]
    catalogue.put("widgets.example.com", ())
    assert catalogue.current.all == before.all
    assert told == [len(KINDS) + 1, len(KINDS)]


def test_no_definition_takes_the_place_of_a_kind_that_is_built_in():
    catalogue = Catalogue(KINDS)
    for name, kind in DEFINED_KINDS.items():
        stranger = definition(group=kind.group, plural=kind.plural, version=kind.version)
        catalogue.put(name, kinds_of(established(stranger)))
        assert catalogue.current.find(kind.group, kind.version, kind.plural) is kind
