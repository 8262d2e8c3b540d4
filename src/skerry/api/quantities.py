"""Quantities as Kubernetes writes them: `128Mi`, `10M`, `1.5Gi`, `1e6`.

Source: k8s.io/apimachinery, `resource.Quantity`: a decimal number with a binary suffix, a decimal one or an exponent.
"""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

_BINARY = {suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)}
_FACTORS = {"": Decimal(1), **_BINARY, **_DECIMAL}
_SMALL = {suffix: Decimal(1000) ** -power for power, suffix in enumerate(("m", "u", "n"), 1)}
#: Longer numbers are no sizes of anything, and would only cost time.
_WHOLE = re.compile(r"(\d{1,20}(?:\.\d{0,9})?|\.\d{1,9})(?:([KMGTPE]i|[kMGTPE])|[eE]([+-]?\d{1,2}))?")

#: What an error says is accepted.
ACCEPTED = 'a quantity of bytes such as "128Mi", "10M" or "1048576" (suffixes: Ki, Mi, Gi, k, M, G)'


def _as_text(value: Any) -> Any:
    """Write a number as text, as Quantity's UnmarshalJSON reads it; anything else is left to the check of its type."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


#: A field that holds a quantity: text, and in what clients send a number as well.
Quantity = Annotated[str, BeforeValidator(_as_text)]


def parse_bytes(text: str) -> int:
    """Return a quantity of bytes; raises ValueError with what is accepted."""
    found = _WHOLE.fullmatch(text)
    if not found:
        raise ValueError(f"must be {ACCEPTED}")
    number, suffix, exponent = found.groups()
    value = Decimal(number) * _FACTORS[suffix or ""] * Decimal(10) ** int(exponent or 0)
    if value != int(value):
        raise ValueError("must be a whole number of bytes")
    return int(value)


def parse_amount(text: str) -> Decimal:
    """Return a quantity of anything, such as the "250m" of cores; raises ValueError for other text."""
    factor = _SMALL.get(text[-1:], Decimal(1))
    found = _WHOLE.fullmatch(text[:-1] if text[-1:] in _SMALL else text)
    if not found or (factor != 1 and (found[2] or found[3])):
        raise ValueError(f'{text!r} is no quantity such as "250m", "2", "128Mi" or "1e6"')
    number, suffix, exponent = found.groups()
    return Decimal(number) * factor * _FACTORS[suffix or ""] * Decimal(10) ** int(exponent or 0)


def write_bytes(number: int) -> str:
    """Write a number of bytes with the largest binary suffix that leaves it whole."""
    for suffix, factor in reversed(_BINARY.items()):
        if number and number % factor == 0:
            return f"{int(number / factor)}{suffix}"
    return str(number)
