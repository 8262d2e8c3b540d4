"""What users write and Envoy would refuse: told as a sentence about one rule, before Envoy sees it.

Envoy takes a route table as a whole, so one value that it refuses would keep every later route of every host of a
Gateway from being served. Gateway API leaves these values open: they are no errors of an object's form.
"""

import re

import re2

#: Memory and time of one expression: so many instructions of RE2 are some hundred kilobytes.
REGEX_INSTRUCTIONS_MAX = 10_000
#: What an expression may take while it is compiled.
REGEX_MEMORY_BYTES_MAX = 1024 * 1024

#: Envoy's rule for values of headers, and for paths that it writes (`well_known_regex: HTTP_HEADER_VALUE`).
_CONTROL = re.compile(r"[\x00\r\n]")


class Unsupported(Exception):
    """A rule asks for something that this gateway does not do; the text says what.

    Attributes:
        answer: what the rule's requests are told.
    """

    answer = "this route asks for something that the gateway does not do"


def checked_regex(pattern: str) -> str:
    """Compile an expression with the library that Envoy uses; raises Unsupported."""
    if not pattern:
        raise Unsupported("an empty expression fits no request")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MEMORY_BYTES_MAX
    try:
        size = re2.compile(pattern, options).programsize
    except (re2.error, UnicodeError) as error:
        told = error.args[0] if error.args else error
        text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise Unsupported(f"{pattern!r} is not an RE2 expression: {text}") from error
    if size > REGEX_INSTRUCTIONS_MAX:
        raise Unsupported(f"{pattern!r} is more than {REGEX_INSTRUCTIONS_MAX} instructions of RE2")
    return pattern


def checked_text(text: str, what: str) -> str:
    """Return the value of a header, or a path, that can be written; raises Unsupported, which names it by `what`."""
    if _CONTROL.search(text):
        raise Unsupported(f"{what} {text!r} has a line break or NUL, which no message of HTTP can have")
    return text
