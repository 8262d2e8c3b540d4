"""Bodies: what is read, and that whatever else comes is refused with 4xx, in bounded time and memory."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import ApiError, BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.server.kube.bodies import parse_json, read_object, read_patch
from skerry.server.kube.yaml_bodies import parse_yaml
from skerry.server.verbs.apply.configuration import Configuration


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/json; charset=utf-8", "APPLICATION/JSON"]
)
def test_json(content_type: str) -> None:
    assert read_object(content_type, b'{"a": [1, "\\u00e9"]}').document == {"a": [1, "é"]}


def test_yaml_becomes_what_json_has() -> None:
    body = b"a: 2020-01-01\nb: yes\nc: [1, 2.5, ~]\nd: {e: '1'}\n"
    expected = {"a": "2020-01-01", "b": True, "c": [1, 2.5, None], "d": {"e": "1"}}
    assert read_object("application/yaml", body).document == expected


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        (b'{"a": 1, "a": 2}', ("a",)),
        (b'{"x": {"a": 1, "b": 1, "a": 2, "b": 3}}', ("x.a", "x.b")),
        (b'{"l": [{}, {"a": {"b": 1, "b": 2}}]}', ("l[1].a.b",)),
        (b'{"a": 1, "a": 1, "a": 1}', ("a",)),
        (b'{"a": 1, "\\u0061": 2}', ("a",)),
        (b'{"a": {"a": 1}}', ()),
    ],
)
def test_duplicate_fields_are_found_by_path(raw: bytes, paths: tuple[str, ...]) -> None:
    assert parse_json(raw)[1] == paths


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe",
        b'{"a": 1}}',
        b'{"a": 01}',
        b"{'a': 1}",
        b'{"a": "\x00"}',
    ],
)
def test_malformed_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="the body of the request is not valid JSON"):
        read_object("application/json", raw)


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"a"'])
def test_only_objects_are_bodies(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="must be an object"):
        read_object("application/json", raw)


def test_nul_and_huge_numbers_stay_values() -> None:
    assert parse_json(b'{"a": "\\u0000", "b": 1e300}')[0] == {"a": "\0", "b": 1e300}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_deep_json_is_refused_before_anything_recursive_sees_it(opening: bytes, closing: bytes) -> None:
    with pytest.raises(BadRequest, match="nested deeper than 200 levels"):
        parse_json(opening * 201 + b"1" + closing * 201)
    with pytest.raises(BadRequest, match="nested deeper|not valid JSON"):  # the parser's own limit
        parse_json(opening * 100_000 + b"1" + closing * 100_000)


@pytest.mark.parametrize("text", [b'\\"[', b'"[', b"[]", b"{}", b"\\"])
def test_the_cost_of_json_is_linear_in_its_length(text: bytes) -> None:
    with pytest.raises(BadRequest, match="not valid JSON"):  # the square of it would outlast the time of any test
        parse_json(b'{"a":"' + text * 500_000)


def test_brackets_in_texts_do_not_count() -> None:
    assert parse_json(orjson.dumps({"a": "[" * 1000, "b": '\\"{' * 300}))[1] == ()


@pytest.mark.parametrize("raw", [b"- " * 300 + b"a", b"[" * 300, b"{a: " * 300, b"- " * 100_000 + b"a"])
def test_deep_yaml_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="nested deeper|not valid YAML"):
        parse_yaml(raw)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"a: &x [1]\nb: *x\n", "YAML alias"),
        (b"a: [", "not valid YAML"),
        (b"1: a", "not valid YAML"),
        (b"a: !!python/object:os.system {}", "explicit YAML tag"),
        (b"a: !!binary aGk=", "explicit YAML tag"),
        (b"a: !!bool x", "explicit YAML tag"),
        (b'a: !!int ""', "explicit YAML tag"),
        (b"a: !!timestamp x", "explicit YAML tag"),
        (b"a: !!map x", "not valid YAML"),
        (b"a: .nan", "no JSON form"),
        (b"a: -.inf", "no JSON form"),
        (b"a: 1.0e+400", "no JSON form"),
        (b"a: 1e400", "no JSON form"),
        (b"a: 1" + b"0" * 400, "not valid YAML"),
        (b"a: 1" + b"0" * 5000, "no JSON form"),
        (b"a: 0x_", "no JSON form"),
        (b'a: "\\ud800"', "not valid YAML"),
        (b"? [b]\n: c", "not valid YAML"),
        (b"\xff", "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_yaml_without_a_json_form_is_refused(raw: bytes, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        read_object("application/yaml", raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"1", 1), (b"-1", -1), (b"1_000", 1000), (b"0x1f", 31), (b"010", 8), (b"0b11", 3), (b"1.5", 1.5), (b".5", 0.5),
        (b"1e3", 1000.0), (b"2.", 2.0), (b"08", "08"), (b"12:30:45", "12:30:45"), (b"2026-01-01", "2026-01-01"),
        (b"yes", True), (b"~", None), (b"!!str 1", "1"), (b"1:1" + b":1" * 100_000, "1:1" + ":1" * 100_000),
    ],
)  # fmt: skip
def test_what_yaml_scalars_are(raw: bytes, value: Any) -> None:
    found, _ = parse_yaml(b"a: " + raw)
    assert (found, type(found["a"])) == ({"a": value}, type(value))


def test_duplicate_fields_of_yaml_are_told_by_their_paths() -> None:
    assert parse_yaml(b"a: {b: 1, b: 2}\nc:\n- d: 1\n  d: 2\na: {}\n")[1] == ("a.b", "c[0].d", "a")


def test_a_yaml_body_has_a_bounded_number_of_values() -> None:
    with pytest.raises(RequestEntityTooLarge, match="at most 100000 values"):
        parse_yaml(b"[" + b"a," * 100_000 + b"a]")


def test_unknown_content_types_are_told_what_is_read() -> None:
    with pytest.raises(UnsupportedMediaType, match="accepted media types include: application/json"):
        read_object("text/plain", b"{}")


def test_patches_by_content_type() -> None:
    live: dict[str, Any] = {"metadata": {"finalizers": ["a"]}, "data": {"a": "1"}}

    def patched(content_type: str, body: Any) -> Any:
        patch, _ = read_patch(content_type, json.dumps(body).encode(), CONFIG_MAP)
        assert not isinstance(patch, Configuration)
        return patch.apply(json.loads(json.dumps(live)), CONFIG_MAP)

    assert patched("application/json-patch+json", [{"op": "remove", "path": "/data"}]) == {
        "metadata": {"finalizers": ["a"]}
    }
    merge = patched("application/merge-patch+json", {"metadata": {"finalizers": ["b"]}})
    strategic = patched("application/strategic-merge-patch+json", {"metadata": {"finalizers": ["b"]}})
    assert merge["metadata"]["finalizers"] == ["b"]
    assert strategic["metadata"]["finalizers"] == ["a", "b"]


def test_custom_kinds_have_no_strategic_patch() -> None:
    accepted = (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch\\+json, application/merge-patch\\+json, application/apply-patch\\+yaml$"
    )
    with pytest.raises(UnsupportedMediaType, match=accepted):
        read_patch("application/strategic-merge-patch+json", b"{}", EDGE_FUNCTION)


@pytest.mark.parametrize("raw", [b'{"kind": "ConfigMap", "data": {"a": "1"}}', b"kind: ConfigMap\ndata: {a: '1'}\n"])
def test_an_applied_configuration_is_json_or_yaml(raw: bytes) -> None:
    patch, _ = read_patch("application/apply-patch+yaml", raw, CONFIG_MAP)
    assert patch == Configuration({"kind": "ConfigMap", "data": {"a": "1"}})


def test_duplicate_fields_of_an_applied_configuration_are_found() -> None:
    _, duplicates = read_patch("application/apply-patch+yaml", b'{"data": {"a": "1", "a": "2"}}', CONFIG_MAP)
    assert duplicates == ("data.a",)


@given(
    st.binary(max_size=200),
    st.sampled_from(["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]),
)
def test_any_bytes_are_a_document_or_an_answer(raw: bytes, content_type: str) -> None:
    try:
        document = read_object(content_type, raw).document
    except ApiError:
        return
    orjson.dumps(document)


@given(st.text(max_size=120))
def test_any_text_as_yaml_is_a_document_or_an_answer(text: str) -> None:
    try:
        read_object("application/yaml", text.encode(errors="surrogatepass"))
    except ApiError:
        return


YAML_PARTS = st.sampled_from([
    "a", "b", ": ", "- ", "\n", "  ", "{", "}", "[", "]", ", ", "? ", "&x ", "*x", "! ", "<<", "=", "~", '"', "'",
    "!!int ", "!!float ", "!!bool ", "!!set ", "!!timestamp ", "!!str ", "!!map ", "!!null ", "!!merge ", "|\n", ">\n",
    "---\n", "%YAML 1.1\n", "1", "0x", "0b", "_", ".", "e9", ".inf", ".nan", "1:30", "-", "+", "yes", "2026-01-01",
    "\t", "\\ud800", "\0", "#",
])  # fmt: skip


@settings(max_examples=300)
@given(st.lists(YAML_PARTS, max_size=25).map("".join))
def test_any_piece_of_yaml_is_a_document_or_an_answer(text: str) -> None:
    try:
        document = read_object("application/yaml", text.encode()).document
    except ApiError:
        return
    assert orjson.loads(orjson.dumps(document)) == document
