import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.kit.source_map import Place, SourceMap


def source_map(mappings: str, sources: list[str]) -> SourceMap:
    return SourceMap.parse(json.dumps({"version": 3, "sources": sources, "names": [], "mappings": mappings}))


def encoded(number: int) -> str:
    """Encode one base64 VLQ number, for the round trip."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    rest = -number << 1 | 1 if number < 0 else number << 1
    text = ""
    while True:
        digit, rest = rest & 31, rest >> 5
        text += digits[digit | (32 if rest else 0)]
        if not rest:
            return text


def test_a_place_maps_to_the_nearest_mapping_before_it() -> None:
    found = source_map(";AAAA,IAAI;ACCA", ["a.ts", "b.ts"])
    assert found.origin(2, 1) == Place("a.ts", 1, 1)
    assert found.origin(2, 4) == Place("a.ts", 1, 1)
    assert found.origin(2, 5) == Place("a.ts", 1, 5)
    assert found.origin(3, 99) == Place("b.ts", 2, 5)


def test_a_line_alone_maps_to_its_first_origin() -> None:
    assert source_map("A,IAEA", ["a.ts"]).origin(1, 0) == Place("a.ts", 3, 1)


def test_code_of_the_bundler_has_no_origin() -> None:
    found = source_map(";IAAA,I", ["a.ts"])
    assert found.origin(1, 1) is None
    assert found.origin(2, 1) is None
    assert found.origin(2, 5) == Place("a.ts", 1, 1)
    assert found.origin(2, 9) is None
    assert found.origin(0, 0) is None
    assert found.origin(99, 1) is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=20))
def test_numbers_of_any_size_and_sign_are_read_back(places: list[tuple[int, int]]) -> None:
    segments, line, column = [], 0, 0
    for more_line, more_column in places:
        segments.append("C" + "A" + encoded(more_line - line) + encoded(more_column - column))
        line, column = more_line, more_column
    found = source_map(",".join(segments), ["a.ts"])
    for at, (line, column) in enumerate(places):
        assert found.origin(1, at + 2) == Place("a.ts", line + 1, column + 1)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version":2}', '{"version":3}', '{"version":3,"sources":[],"mappings":"AAAA"}',
     '{"version":3,"sources":["a"],"mappings":"!"}', '{"version":3,"sources":["a"],"mappings":"g"}',
     '{"version":3,"sources":["a"],"mappings":"AA"}'],
)  # fmt: skip
def test_what_is_no_source_map_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - ValueError is the promise; its text is json's at times
        SourceMap.parse(text)
