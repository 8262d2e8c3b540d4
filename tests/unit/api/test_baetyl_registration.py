"""Products, records and callbacks: defaults and rules."""

from typing import Any

import pytest

from skerry.api.baetyl_registration import (
    CALLBACK,
    CALLBACK_ITEMS_MAX,
    PRODUCT,
    QUOTA_MAX,
    RECORD,
    is_fingerprint,
    record_object_name,
)
from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.kinds import Kind
from skerry.api.secret_fields import confidential_resources


def completed(kind: Kind[Any], name: str, spec: dict[str, Any], old: Any = None, **more: Any) -> Any:
    document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **more}, "spec": spec}
    found = decode(kind, document).object
    complete(kind, found, old)
    return found


def problems(kind: Kind[Any], name: str, spec: dict[str, Any], old: Any = None) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        completed(kind, name, spec, old)
    return {cause["field"]: cause["message"] for cause in raised.value.details["causes"]}


KEY = {"securityKey": "k"}


def test_what_a_product_does_not_say_is_what_upstream_takes():
    spec = completed(PRODUCT, "factory", KEY).spec
    assert (spec.quota_num, spec.enable_whitelist, spec.security_type) == (200, 1, "Token")
    assert spec.fingerprint.model_dump() == {
        "type": 1,
        "sn_path": "/var/lib/baetyl/sn/fingerprint.txt",
        "input_field": "sn",
    }


def test_a_product_says_in_its_labels_which_it_is_whatever_the_client_says():
    labels = {"site": "lyon", "baetyl-batch": "other"}
    assert completed(PRODUCT, "factory", KEY, labels=labels).metadata.labels == {
        "site": "lyon",
        "baetyl-batch": "factory",
    }


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.securityKey"),
        ({**KEY, "quotaNum": -1}, "spec.quotaNum"),
        ({**KEY, "quotaNum": QUOTA_MAX + 1}, "spec.quotaNum"),
        ({**KEY, "enableWhitelist": 2}, "spec.enableWhitelist"),
        ({**KEY, "securityType": "Cert"}, "spec.securityType"),
        ({**KEY, "fingerprint": {"type": 0}}, "spec.fingerprint.type"),
        ({**KEY, "fingerprint": {"type": 64}}, "spec.fingerprint.type"),
        ({**KEY, "fingerprint": {"snPath": "sn.txt"}}, "spec.fingerprint.snPath"),
        ({**KEY, "callbackName": "No Name"}, "spec.callbackName"),
    ],
)
def test_a_wrong_field_of_a_product_is_named(spec: dict[str, Any], field: str):
    assert field in problems(PRODUCT, "factory", spec)


def test_the_name_of_a_product_fits_into_a_label():
    assert "metadata.name" in problems(PRODUCT, "p" * 64, KEY)


def test_keys_of_products_and_credentials_of_callbacks_are_encrypted_at_rest():
    assert confidential_resources([PRODUCT, RECORD, CALLBACK]) == {PRODUCT.resource, CALLBACK.resource}


RECORD_SPEC = {"batchName": "factory", "fingerprintValue": "SN-1"}


def test_a_record_is_called_by_its_fingerprint_where_nothing_else_is_said():
    record = completed(RECORD, "factory:sn-1", RECORD_SPEC)
    assert (record.spec.name, record.spec.node_name) == ("SN-1", "sn-1")
    assert record.metadata.labels == {"baetyl-batch": "factory"}


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("factory:sn-2", {}, "metadata.name"),
        ("factory:-x", {"fingerprintValue": "-x"}, "spec.fingerprintValue"),
        ("factory:" + "x" * 64, {"fingerprintValue": "x" * 64}, "spec.fingerprintValue"),
        ("factory:sn-1", {"name": "a b"}, "spec.name"),
        ("factory:sn-1", {"nodeName": "Node"}, "spec.nodeName"),
        ("factory:sn-1", {"nodeName": "n" * 64}, "spec.nodeName"),
        ("factory:a", {"fingerprintValue": "a"}, "spec.nodeName"),
        ("Factory:sn-1", {"batchName": "Factory"}, "spec.batchName"),
    ],
)
def test_a_wrong_field_of_a_record_is_named(name: str, spec: dict[str, Any], field: str):
    assert field in problems(RECORD, name, {**RECORD_SPEC, **spec})


def test_of_a_record_only_the_node_can_be_changed():
    old = completed(RECORD, "factory:sn-1", RECORD_SPEC)
    assert completed(RECORD, "factory:sn-1", {**RECORD_SPEC, "nodeName": "other"}, old).spec.node_name == "other"
    assert "spec" in problems(RECORD, "factory:sn-1", {**RECORD_SPEC, "name": "other"}, old)


def test_a_fingerprint_names_one_record_in_upper_and_lower_case():
    assert record_object_name("p", "AB") == record_object_name("p", "ab")


@pytest.mark.parametrize("text", ["a", "A1-b.c", "x" * 63, "0f1e"])
def test_upstreams_fingerprints_are_fingerprints(text: str):
    assert is_fingerprint(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a..b", "a_b", "é", "a\n", "x" * 64])
def test_other_texts_are_no_fingerprints(text: str):
    assert not is_fingerprint(text)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"url": "ftp://x"}, "spec.url"),
        ({"url": "http://x", "method": "DELETE"}, "spec.method"),
        ({"url": "http://x", "body": {str(n): "" for n in range(CALLBACK_ITEMS_MAX + 1)}}, "spec.body"),
    ],
)
def test_a_wrong_field_of_a_callback_is_named(spec: dict[str, Any], field: str):
    assert field in problems(CALLBACK, "erp", spec)
