"""Bodies: what is read, and that whatever else comes is refused with 4xx, in bounded time and memory."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import ApiError, BadRequest, UnsupportedMediaType
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.server.kube.bodies import parse_json, parse_yaml, read_object, read_patch
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


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [201, 100_000])
def test_deep_json_is_refused_before_it_is_parsed(opening: bytes, depth: int) -> None:
    with pytest.raises(BadRequest, match="nested deeper than 200 levels"):
        parse_json(opening * depth)


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
        (b"a: !!python/object:os.system {}", "not valid YAML"),
        (b"a: !!binary aGk=", "not valid YAML"),
        (b'a: "\\ud800"', "not valid YAML"),
        (b"a: .nan\n? [b]\n: c", "not valid YAML"),
        (b"\xff", "not valid YAML"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_yaml_without_a_json_form_is_refused(raw: bytes, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        read_object("application/yaml", raw)


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
