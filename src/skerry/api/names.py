"""Name rules of Kubernetes: RFC 1123 subdomains and labels, label keys and values, data keys."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from skerry.api.fields import FieldError, invalid, too_long

NameFormat = Literal["subdomain", "label", "path-segment"]

SUBDOMAIN_CHARACTERS_MAX = 253
LABEL_CHARACTERS_MAX = 63

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    f"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_LABEL_KEY_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_DATA_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)

_NAME_RULES = {
    "subdomain": (_SUBDOMAIN, SUBDOMAIN_CHARACTERS_MAX, _SUBDOMAIN_MESSAGE),
    "label": (_LABEL, LABEL_CHARACTERS_MAX, _LABEL_MESSAGE),
}


def is_label(text: str) -> bool:
    """Tell whether `text` is an RFC 1123 label."""
    return len(text) <= LABEL_CHARACTERS_MAX and re.fullmatch(_LABEL, text) is not None


def is_subdomain(text: str) -> bool:
    """Tell whether `text` is an RFC 1123 subdomain."""
    return len(text) <= SUBDOMAIN_CHARACTERS_MAX and re.fullmatch(_SUBDOMAIN, text) is not None


def name_errors(path: str, name: str, name_format: NameFormat) -> Iterator[FieldError]:
    """Check an object's name against its kind's format."""
    if name_format == "path-segment":
        if name in {".", ".."}:
            yield invalid(path, name, f"may not be '{name}'")
        for character in "/%":
            if character in name:
                yield invalid(path, name, f"may not contain '{character}'")
        return
    pattern, characters_max, message = _NAME_RULES[name_format]
    if len(name) > characters_max:
        yield invalid(path, name, f"must be no more than {characters_max} characters")
    if not re.fullmatch(pattern, name):
        yield invalid(path, name, message)


def label_key_error(key: str) -> str | None:
    """Return what is wrong with a label or annotation key, or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and not is_subdomain(prefix):
        return f"prefix part {_SUBDOMAIN_MESSAGE}"
    if not name:
        return "name part must be non-empty"
    if len(name) > LABEL_CHARACTERS_MAX:
        return f"name part must be no more than {LABEL_CHARACTERS_MAX} characters"
    return None if re.fullmatch(_QUALIFIED, name) else _LABEL_KEY_MESSAGE


def label_value_error(value: str) -> str | None:
    """Return what is wrong with a label's value, or None."""
    if len(value) > LABEL_CHARACTERS_MAX:
        return f"must be no more than {LABEL_CHARACTERS_MAX} characters"
    return None if not value or re.fullmatch(_QUALIFIED, value) else _LABEL_VALUE_MESSAGE


def label_errors(path: str, labels: dict[str, str]) -> Iterator[FieldError]:
    """Check the keys and values of a map of labels."""
    for key, value in labels.items():
        if wrong := label_key_error(key):
            yield invalid(path, key, wrong)
        if wrong := label_value_error(value):
            yield invalid(path, value, wrong)


def data_key_errors(path: str, data: dict[str, Any]) -> Iterator[FieldError]:
    """Check the keys of a ConfigMap's or Secret's data."""
    for key in data:
        if len(key) > SUBDOMAIN_CHARACTERS_MAX:
            yield too_long(f"{path}[{key}]", SUBDOMAIN_CHARACTERS_MAX, "characters")
        if key in {".", ".."} or not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            yield invalid(f"{path}[{key}]", key, _DATA_KEY_MESSAGE)
