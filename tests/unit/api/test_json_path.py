"""JSONPath, as far as definitions use it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.json_path import PATH_CHARACTERS_MAX, json_path

DOCUMENT: dict[str, Any] = {
    "spec": {"a": 1, "x.y": "dotted", "rules": [{"host": "h", "port": 80}, {"host": "i", "port": 443}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]),
        ("{.spec.a}", [1]),
        ("$.spec.a", [1]),
        ("spec.a", [1]),
        (r".spec.x\.y", ["dotted"]),
        (".spec['x.y']", ["dotted"]),
        ('.spec["x.y"]', ["dotted"]),
        (".spec.rules[1].host", ["i"]),
        (".spec.rules[-1].host", ["i"]),
        (".spec.rules[5].host", []),
        (".spec.rules[*].host", ["h", "i"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Ready')].status", ["True"]),
        (".spec.rules[?(@.port>100)].host", ["i"]),
        (".spec.rules[?(@.port > 'x')].host", []),
        (".spec.rules[?( @.port  ==  80  )].host", ["h"]),
        (".spec.rules[?(@.host)].port", [80, 443]),
        (".spec.a.b", []),
    ],
)
def test_a_path_leads_to_its_values(path: str, found: list[Any]):
    assert list(json_path(path).values(DOCUMENT)) == found
    assert json_path(path)(DOCUMENT) == (found[0] if found else None)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "names no field"),
        (".spec..a", r"is not understood from '\.\.a' on"),
        (".spec.rules[0:1]", "is not understood"),
        (".spec[?(@.a==[1])]", "is not understood|compares with"),
        (".spec[?(@.a==b)]", "compares with 'b'"),
        ("." + "a" * PATH_CHARACTERS_MAX, "longer than"),
    ],
)
def test_what_is_not_understood_is_refused(path: str, told: str):
    with pytest.raises(ValueError, match=told):
        json_path(path)


def test_a_path_is_read_in_linear_time(monkeypatch: pytest.MonkeyPatch):
    longest = 200 * PATH_CHARACTERS_MAX  # cubic time for it would be hours, linear time is moments
    monkeypatch.setattr("skerry.api.json_path.PATH_CHARACTERS_MAX", longest)
    with pytest.raises(ValueError, match="is not understood"):
        json_path(".a[?(@.b==" + " " * (longest - 12) + "(")


@given(st.text(max_size=40), st.sampled_from([DOCUMENT, [], None, "x", 1]))
def test_no_text_breaks_the_parser_and_no_document_a_path(text: str, document: Any):
    try:
        path = json_path(text)
    except ValueError:
        return
    list(path.values(document))
