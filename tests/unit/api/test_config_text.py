"""Objects within text: JSON and YAML give the same, and whatever is no object is told."""

import pytest

from skerry.api.config_text import CONFIG_BYTES_MAX, config_json


@pytest.mark.parametrize(
    "text",
    ['{"b": [1, true], "a": "x"}', "b: [1, true]\na: x\n", '{"a": "x", "b": [1, true]}  ', "{a: x, b: [1, yes]}"],
)
def test_equal_objects_are_equal_texts(text: str) -> None:
    assert config_json(text) == '{"a":"x","b":[1,true]}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "JSON or YAML object"),
        ("[1]", "JSON or YAML object"),
        ("a: [", "JSON or YAML object"),
        ("1: 2", "JSON or YAML object"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("a: !!binary aGk=", "JSON or YAML object"),
        ('{"a": "' + "x" * CONFIG_BYTES_MAX + '"}', "at most"),
        ("[" * 10_000, "JSON or YAML object"),
        ("[" * (CONFIG_BYTES_MAX - 1), "at most 100 levels"),
        ("a:\n" + "".join(f"{' ' * level}- a:\n" for level in range(200)), "at most 100 levels"),
    ],
)
def test_what_is_no_object_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        config_json(text)
