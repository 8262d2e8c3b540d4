"""Regular expressions that users write: RE2, as in Kubernetes, so that none takes more than linear time."""

from typing import Protocol, cast

import re2

#: Memory of one compiled expression. Go's own bound is on the number of instructions, of the same order.
PATTERN_BYTES_MAX = 1024 * 1024
PATTERN_CHARACTERS_MAX = 4096


class Pattern(Protocol):
    """A compiled expression."""

    pattern: str

    def search(self, text: str) -> object | None:
        """Find the expression anywhere in a text."""
        ...


def pattern(text: str) -> Pattern:
    """Compile an expression; raises ValueError with what is wrong with it."""
    if len(text) > PATTERN_CHARACTERS_MAX:
        raise ValueError(f"is longer than {PATTERN_CHARACTERS_MAX} characters")
    options = re2.Options()
    options.max_mem = PATTERN_BYTES_MAX
    options.log_errors = False
    try:
        return cast("Pattern", re2.compile(text, options))
    except re2.error as error:
        told = error.args[0] if error.args else "not understood"
        raise ValueError(told.decode(errors="replace") if isinstance(told, bytes) else str(told)) from error
