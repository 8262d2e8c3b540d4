"""Label and field selectors, against the grammar of Kubernetes and against a reference evaluation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.selectors import (
    LabelSelector,
    Requirement,
    SelectorError,
    label_selector,
    parse_field_selector,
    parse_label_selector,
)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a==b", {"a": "b"}, True),
        ("a = b", {"a": "b"}, True),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {}, True),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("! a", {"a": "x"}, False),
        ("a in (b,c)", {"a": "c"}, True),
        ("a in (b, c)", {"a": "d"}, False),
        ("a in ()", {"a": ""}, True),
        ("a in (b,)", {"a": ""}, True),
        ("a notin (b,c)", {"a": "b"}, False),
        ("a notin (b,c)", {}, True),
        ("a=", {"a": ""}, True),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "5"}, False),
        ("a<5", {"a": "-4"}, True),
        ("a<5", {"a": "x"}, False),
        ("a<5", {}, False),
        ("a=b,c in (d),!e", {"a": "b", "c": "d"}, True),
        ("a=b,c in (d),!e", {"a": "b", "c": "d", "e": ""}, False),
        ("in in (in)", {"in": "in"}, True),
        ("example.com/a=b", {"example.com/a": "b"}, True),
    ],
)
def test_label_selectors_match_as_in_kubernetes(text: str, labels: dict[str, str], *, selected: bool) -> None:
    assert parse_label_selector(text).matches(labels) is selected


@pytest.mark.parametrize(
    "text",
    [
        "a=b,",
        ",a",
        "a in b",
        "a in (b",
        "a ^ b",
        "=b",
        "a!!b",
        "a=b c",
        "!",
        "a>x",
        "a b",
        "-a=b",
        "a=b=c",
        "()",
        "a in (b))",
    ],
)
def test_what_is_no_selector_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(SelectorError) as error:
        parse_label_selector(text)
    assert len(str(error.value)) > len(text)


@given(st.text(max_size=60))
def test_any_text_is_a_selector_or_a_selector_error(text: str) -> None:
    for parse in (parse_label_selector, parse_field_selector):
        try:
            parse(text)
        except SelectorError:
            continue


KEYS = st.sampled_from(["a", "b", "x.io/c"])
VALUES = st.sampled_from(["", "1", "v"])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["in", "notin"]), KEYS, st.sets(VALUES, min_size=1)),
            st.tuples(st.sampled_from(["=", "==", "!="]), KEYS, st.sets(VALUES, min_size=1, max_size=1)),
            st.tuples(st.sampled_from(["<", ">"]), KEYS, st.sampled_from([{"0"}, {"1"}, {"2"}])),
            st.tuples(st.sampled_from(["exists", "!"]), KEYS, st.just(set())),
        ),
        max_size=4,
    ),
    st.dictionaries(KEYS, VALUES),
)
def test_a_parsed_selector_selects_what_its_requirements_say(
    parts: list[tuple[str, str, set[str]]], labels: dict[str, str]
) -> None:
    def spelled(operator: str, key: str, values: set[str]) -> str:
        listed = ",".join(sorted(values))
        match operator:
            case "in" | "notin":
                return f"{key} {operator} ({listed})"
            case "exists":
                return key
            case "!":
                return f"!{key}"
            case _:
                return f"{key}{operator}{listed}"

    def holds(operator: str, key: str, values: set[str]) -> bool:
        value = labels.get(key)
        match operator:
            case "in" | "=" | "==":
                return value in values
            case "notin" | "!=":
                return value not in values
            case "<" | ">":
                number, bound = value if value == "1" else None, int(min(values))
                return number is not None and (int(number) < bound if operator == "<" else int(number) > bound)
            case _:
                return (value is not None) == (operator == "exists")

    text = ",".join(spelled(*part) for part in parts)
    expected = all(holds(*part) for part in parts)
    assert parse_label_selector(text).matches(labels) is expected


def test_the_object_form_means_the_same_as_the_text() -> None:
    built = label_selector({"a": "b"}, [("c", "In", ["d"]), ("e", "DoesNotExist", [])])
    assert built == parse_label_selector("a=b,c in (d),!e")
    with pytest.raises(SelectorError, match='operator "Like": supported are In, NotIn, Exists, DoesNotExist'):
        label_selector(None, [("a", "Like", ["b"])])
    with pytest.raises(SelectorError, match="at least one value"):
        label_selector(None, [("a", "In", [])])


def test_an_empty_selector_selects_everything_and_is_false() -> None:
    assert not LabelSelector()
    assert LabelSelector((Requirement("a", "exists"),))


@pytest.mark.parametrize(
    ("text", "fields", "selected"),
    [
        ("", {}, True),
        ("metadata.name=x", {"metadata.name": "x"}, True),
        ("metadata.name==x", {"metadata.name": "y"}, False),
        ("metadata.name!=x", {"metadata.name": "y"}, True),
        ("a=x,b!=y", {"a": "x", "b": "z"}, True),
        (r"a=x\,y", {"a": "x,y"}, True),
        (r"a=x\=y", {"a": "x=y"}, True),
        (r"a=x\\", {"a": "x\\"}, True),
        ("a=", {"a": ""}, True),
    ],
)
def test_field_selectors_match_as_in_kubernetes(text: str, fields: dict[str, str], *, selected: bool) -> None:
    assert parse_field_selector(text).matches(fields.__getitem__) is selected


@pytest.mark.parametrize("text", ["a", "a=b,c", r"a=\x", "a=b=c", "a!b"])
def test_a_field_selector_without_an_operator_or_with_a_wrong_escape_is_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="expected path=value"):
        parse_field_selector(text)


def test_value_of_finds_the_equality_on_a_field() -> None:
    selector = parse_field_selector("a!=x,metadata.name=y")
    assert selector.value_of("metadata.name") == "y"
    assert selector.value_of("a") is None


PATHS = st.sampled_from(["metadata.name", "status.phase"])
TEXTS = st.text("ab=,\\!. ", max_size=4)


@given(
    st.lists(st.tuples(PATHS, st.sampled_from(["=", "==", "!="]), TEXTS), max_size=4),
    st.fixed_dictionaries({"metadata.name": TEXTS, "status.phase": TEXTS}),
)
def test_a_parsed_field_selector_selects_what_its_requirements_say(
    parts: list[tuple[str, str, str]], fields: dict[str, str]
) -> None:
    def escaped(value: str) -> str:
        return "".join(f"\\{character}" if character in "\\,=" else character for character in value)

    text = ",".join(f"{path}{operator}{escaped(value)}" for path, operator, value in parts)
    expected = all((fields[path] == value) == (operator != "!=") for path, operator, value in parts)
    assert parse_field_selector(text).matches(fields.__getitem__) is expected
