r"""Protobuf bodies as kubectl writes them, encoded here by hand from the same field numbers."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.errors import ApiError, BadRequest, UnsupportedMediaType
from skerry.server.kube.protobuf import MESSAGES, decode


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: Any) -> bytes:
    if isinstance(value, bool | int):
        return varint(number << 3) + varint(int(value))
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def entry(key: str, value: Any) -> bytes:
    return field(1, key) + field(2, value)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")


def test_a_config_map() -> None:
    meta = field(1, "c") + field(2, "") + field(3, "default") + field(5, "") + field(7, 0) + field(8, b"")
    meta += field(11, entry("l", "v")) + field(14, "f1") + field(14, "f2")
    raw = field(1, meta) + field(2, entry("a", "1")) + field(2, entry("empty", "")) + field(3, entry("b", b"\xff"))
    assert decode(envelope("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default", "labels": {"l": "v"}, "finalizers": ["f1", "f2"]},
        "data": {"a": "1", "empty": ""},
        "binaryData": {"b": "/w=="},
    }


def test_a_secret() -> None:
    raw = field(1, field(1, "s")) + field(2, entry("k", b"v")) + field(3, "Opaque") + field(5, True)
    document = decode(envelope("v1", "Secret", raw))
    assert document["data"] == {"k": "dg=="}
    assert document["immutable"] is True


def test_an_event_with_times_and_numbers() -> None:
    raw = (
        field(2, field(1, "Pod") + field(3, "p"))
        + field(6, field(1, 1_700_000_000) + field(2, 5))
        + field(7, b"")
        + field(8, 3)
    )
    document = decode(envelope("v1", "Event", raw))
    assert document["involvedObject"] == {"kind": "Pod", "name": "p"}
    assert document["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert "lastTimestamp" not in document
    assert document["count"] == 3


def test_an_access_review_and_delete_options() -> None:
    raw = field(2, field(1, field(2, "create") + field(5, "configmaps")))
    review = decode(envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", raw))
    assert review["spec"] == {"resourceAttributes": {"verb": "create", "resource": "configmaps"}}
    raw = field(2, field(1, "uid")) + field(4, "Background") + field(5, "All")
    options = decode(envelope("meta.k8s.io/v1", "DeleteOptions", raw))
    assert options["preconditions"] == {"uid": "uid"}
    assert options["dryRun"] == ["All"]


def test_fields_that_nobody_knows_are_skipped() -> None:
    unknown = (
        field(99, "x") + varint(98 << 3) + varint(5) + varint(97 << 3 | 1) + b"12345678" + varint(96 << 3 | 5) + b"1234"
    )
    assert decode(envelope("v1", "ConfigMap", unknown + field(1, field(1, "c"))))["metadata"] == {"name": "c"}


def test_kinds_that_are_not_read() -> None:
    with pytest.raises(UnsupportedMediaType, match="v1, Kind=Pod is not accepted as protobuf: send application/json"):
        decode(envelope("v1", "Pod", b""))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\0\x0a\xff",
        b"k8s\0" + b"\xff" * 20,
        envelope("v1", "ConfigMap", field(1, 5)),
        envelope("v1", "ConfigMap", field(1, field(1, b"\xff"))),
        envelope("v1", "Event", field(6, field(1, 1 << 62))),
        envelope("v1", "ConfigMap", varint(1 << 3 | 3)),
    ],
)
def test_what_is_no_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body)


@given(st.binary(max_size=100), st.sampled_from(["ConfigMap", "Secret", "Event", "DeleteOptions"]))
def test_any_bytes_are_a_document_or_refused(raw: bytes, kind: str) -> None:
    try:
        assert decode(envelope("v1", kind, raw))["kind"] == kind
    except BadRequest:
        return


NUMBERS = st.integers(0, 20) | st.sampled_from([1 << 31, 1 << 63, (1 << 64) - 1, 1 << 69])
PARTS = st.recursive(
    st.binary(max_size=6) | st.text(max_size=4).map(lambda text: text.encode(errors="surrogatepass")),
    lambda inner: st.lists(
        st.one_of(
            st.tuples(NUMBERS, inner).map(lambda part: field(*part)),
            st.tuples(NUMBERS, NUMBERS).map(lambda part: field(*part)),
            st.tuples(NUMBERS, inner, st.integers(-3, 1 << 40)).map(lambda part: lying(*part)),
            st.tuples(NUMBERS, st.integers(0, 7), inner).map(lambda part: varint(part[0] << 3 | part[1]) + part[2]),
        ),
        max_size=4,
    ).map(b"".join),
    max_leaves=10,
)


def lying(number: int, raw: bytes, by: int) -> bytes:
    """A field that tells a wrong length."""
    return varint(number << 3 | 2) + varint(max(0, len(raw) + by)) + raw


@settings(max_examples=300)
@given(raw=PARTS, kind=st.sampled_from(sorted(MESSAGES)), cut=st.integers(0, 40))
def test_any_message_is_a_document_or_refused(raw: bytes, kind: tuple[str, str], cut: int) -> None:
    for body in (envelope(*kind, raw), envelope(*kind, raw)[:-cut], b"k8s\0" + raw):
        try:
            orjson.dumps(decode(body))
        except ApiError as error:
            assert error.code in {400, 415}  # noqa: PT017 - every other class fails the test
