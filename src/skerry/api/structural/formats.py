"""The values of `format` that Kubernetes checks; others are told to clients and not checked, as there.

Source: k8s.io/kube-openapi, pkg/validation/strfmt; the list of names: k8s.io/apiextensions-apiserver, formats.go.
"""

import base64
import binascii
import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import date

from skerry.api.structural.patterns import pattern

_HOST_LABEL = r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
_UUID = r"[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s-?[0-9a-f]{12}"
_CHANNEL = r"(\d{1,2}|1\d\d|2[0-4]\d|25[0-5])"
_DURATION = r"[+-]?(\d+(\.\d*)?|\.\d+) *(ns|us|µs|ms|s|m|h|d|w|[a-z]+)"


def _matches(text: str) -> Callable[[str], bool]:
    compiled = pattern(f"^(?:{text})$")
    return lambda value: compiled.search(value) is not None


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _digits(length: int, weight: Callable[[int], int], modulus: int) -> Callable[[str], bool]:
    """Return a check of a number whose weighted digits sum up to a multiple (X counts ten)."""

    def check(value: str) -> bool:
        plain = re.sub(r"[ -]", "", value)
        if not re.fullmatch(rf"\d{{{length - 1}}}[\dX]", plain):
            return False
        numbers = [10 if character == "X" else int(character) for character in plain]
        return sum(number * weight(index) for index, number in enumerate(numbers)) % modulus == 0

    return check


def _is_card(value: str) -> bool:
    """Check Luhn's sum of a credit card's number."""
    plain = re.sub(r"[ -]", "", value)
    if not re.fullmatch(r"\d{12,19}", plain):
        return False
    doubled = [int(c) * (1 + index % 2) for index, c in enumerate(reversed(plain))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def _is_uri(value: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme or value.startswith("/")) and not re.search(r"[\s\x00-\x1f\x7f]", value)


_ISBN10 = _digits(10, lambda index: 10 - index, 11)
_ISBN13 = _digits(13, lambda index: 1 + 2 * (index % 2), 10)
_DATE_TIME = _matches(rf"\d{{4}}-\d\d-\d\d[Tt]{_TIME}([Zz]|[+-]\d\d:\d\d)")
_DATE = _parses(date.fromisoformat)

_HOSTNAME = _matches(rf"{_HOST_LABEL}(\.{_HOST_LABEL})*\.?")

#: A format's check of a text.
FORMATS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches("[0-9a-fA-F]{24}"),
    "byte": _parses(lambda value: base64.b64decode(value, validate=True)),
    "cidr": _parses(lambda value: ipaddress.ip_interface(value) if "/" in value else int("no mask")),
    "creditcard": _is_card,
    "date": lambda value: len(value) == 10 and _DATE(value),
    "date-time": lambda value: _DATE_TIME(value) and _DATE(value[:10]),
    "datetime": lambda value: _DATE_TIME(value) and _DATE(value[:10]),
    "duration": _matches(rf"0|({_DURATION} *)+"),
    "email": _matches(rf"[^@\s]+@{_HOST_LABEL}(\.{_HOST_LABEL})*"),
    "hexcolor": _matches("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": lambda value: len(value) <= 253 and _HOSTNAME(value),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "isbn": lambda value: _ISBN10(value) or _ISBN13(value),
    "isbn10": _ISBN10,
    "isbn13": _ISBN13,
    "mac": _matches(
        "[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}([:-][0-9a-fA-F]{2}){0,2}|([0-9a-fA-F]{4}\\.){2}[0-9a-fA-F]{4}"
    ),
    "rgbcolor": _matches(rf"rgb\(\s*{_CHANNEL}\s*,\s*{_CHANNEL}\s*,\s*{_CHANNEL}\s*\)"),
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _is_uri,
    "uuid": _matches("(?i)" + _UUID % ("[0-9a-f]", "[0-9a-f]{4}")),
    "uuid3": _matches("(?i)" + _UUID % ("3", "[0-9a-f]{4}")),
    "uuid4": _matches("(?i)" + _UUID % ("4", "[89ab][0-9a-f]{3}")),
    "uuid5": _matches("(?i)" + _UUID % ("5", "[89ab][0-9a-f]{3}")),
}

#: The bounds of an integer format.
INTEGER_FORMATS: Mapping[str, tuple[int, int]] = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
