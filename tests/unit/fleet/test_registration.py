"""Registration: proofs, records, callbacks."""

import orjson
import pytest

from skerry.api.baetyl_registration import (
    CALLBACK_ITEMS_MAX,
    Callback,
    CallbackSpec,
    Fingerprint,
    Product,
    ProductSpec,
)
from skerry.api.model import ObjectMeta
from skerry.fleet.registration import (
    Proof,
    ProofRefused,
    callback_request,
    new_record,
    proofs_of,
    require_proof,
)


def product(**spec: object) -> Product:
    return Product(
        api_version="cloud.baetyl.io/v1alpha1",
        kind="Product",
        metadata=ObjectMeta(name="factory", namespace="default", uid="u1"),
        spec=ProductSpec.model_validate(spec),
    )


@pytest.mark.parametrize(
    ("bits", "proofs"),
    [
        (1, [Proof("sn", "serial")]),
        (2, [Proof("input", "code")]),
        (4, [Proof("hostName", "")]),
        (8, [Proof("bootID", "")]),
        (16, [Proof("systemUUID", "")]),
        (32, [Proof("machineID", "")]),
        (37, [Proof("sn", "serial"), Proof("hostName", ""), Proof("machineID", "")]),
    ],
)
def test_every_bit_of_a_fingerprint_is_a_proof_of_its_own(bits: int, proofs: list[Proof]):
    assert proofs_of(Fingerprint(type=bits, sn_path="/etc/device/serial", input_field="code")) == proofs


def test_a_device_shows_the_key_of_its_product():
    require_proof(product(security_key="secret"), "Token", "secret")


@pytest.mark.parametrize(
    ("security_type", "value", "message"),
    [("None", "secret", "SecurityType error"), ("Token", "Secret", "SecurityValue error"), ("Token", "", "Value")],
)
def test_a_device_that_shows_something_else_is_refused(security_type: str, value: str, message: str):
    with pytest.raises(ProofRefused, match=message):
        require_proof(product(security_key="secret"), security_type, value)


def test_without_security_nothing_is_asked_for():
    require_proof(product(security_type="None"), "None", "")


def test_a_record_is_named_by_its_fingerprint_in_lower_case_and_goes_with_its_product():
    record = new_record(product(), "SN-1")
    assert record.name == "factory:sn-1"
    assert (record.spec.name, record.spec.node_name) == ("SN-1", "sn-1")
    assert record.metadata.owner_references is not None
    assert record.metadata.owner_references[0].uid == "u1"


def callback(**spec: object) -> Callback:
    return Callback(metadata=ObjectMeta(name="erp"), spec=CallbackSpec.model_validate(spec))


def test_what_a_device_sends_along_wins_over_what_a_callback_has():
    asked = callback(
        url="https://erp.example/joined?a=1",
        params={"b": "2 3"},
        header={"x-key": "k"},
        body={"site": "lyon", "n": "1"},
    )
    request = callback_request(asked, {"n": "2"})
    assert request.url == "https://erp.example/joined?a=1&b=2+3"
    assert request.headers["x-key"] == "k"
    assert orjson.loads(request.body) == {"site": "lyon", "n": "2"}


def test_a_get_has_no_body():
    assert callback_request(callback(url="http://x", method="GET"), {"a": "1"}).body == b""


def test_what_is_sent_along_is_bounded():
    given = {str(number): "" for number in range(CALLBACK_ITEMS_MAX + 1)}
    assert len(orjson.loads(callback_request(callback(url="http://x"), given).body)) == CALLBACK_ITEMS_MAX
