"""W3C Trace Context: the text `traceparent`, which names a trace, a span in it, and whether it is sampled.

Owns how one is read and continued. Does not own where it comes from, nor who keeps spans.

Source: https://www.w3.org/TR/trace-context/
"""

import random
import re
import secrets

#: Characters of a `tracestate` that are passed on: as many as the specification asks for.
TRACESTATE_CHARACTERS_MAX = 512

_VERSION = "00"
_NO_VERSION = "ff"
#: Of a trace that begins here: downstream, a parent that is not sampled would switch recording off.
_SAMPLED = "01"
_FORM = re.compile(r"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")

#: Ids are names, not secrets: asking the system for each would cost a run more than anything else that is told of it.
_random = random.Random(secrets.randbits(256))  # noqa: S311 - see above


def is_traceparent(text: str) -> bool:
    """Tell whether a text is a `traceparent`, of this version or of a later one."""
    found = _FORM.fullmatch(text)
    return found is not None and found[1] != _NO_VERSION and not (found[1] == _VERSION and found[4])


def new_span(parent: str | None) -> str:
    """Return the `traceparent` of a new span: a child of the parent, or where that is none, of a new trace."""
    span = f"{_random.getrandbits(64) or 1:016x}"
    if parent and is_traceparent(parent):
        _, trace, _, flags = parent.split("-")[:4]
    else:
        trace, flags = f"{_random.getrandbits(128) or 1:032x}", _SAMPLED
    return f"{_VERSION}-{trace}-{span}-{flags}"
