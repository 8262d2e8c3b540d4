"""What `skerry plugin test` prints of a rehearsal: both messages whole, with what the plugin changed marked as a diff.

Pure. Headers are sorted by name, since their order has no meaning between names; what differs from request to request
by itself (`VOLATILE_HEADERS`) is no change.
"""

import hashlib
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from skerry.main.rehearsal import Message, Rehearsal

#: Envoy gives each request another value of these.
VOLATILE_HEADERS = frozenset({"date", "x-request-id", "x-envoy-upstream-service-time"})
#: What of a body is shown; a longer one is told by its size and hash.
BODY_LINES_SHOWN_MAX = 200
BODY_BYTES_SHOWN_MAX = 64 * 1024


def report(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield the lines; what would not print is escaped, since a module may write anything."""
    for line in (*_exchanges(rehearsal), "", *_log(rehearsal)):
        yield "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _exchanges(rehearsal: Rehearsal) -> Iterator[str]:
    past, through = rehearsal.past, rehearsal.through
    if through is None:
        yield "the proxy refused the module; no request was sent through it"
        return
    yield from _changes("request, as the upstream got it", past.asked, through.asked, "the upstream was not asked")
    yield ""
    yield from _changes("response, as the client got it", past.answered, through.answered, "no response came")


def _log(rehearsal: Rehearsal) -> Iterator[str]:
    yield "log" if rehearsal.log else "log: empty"
    for line in rehearsal.log:
        first, *more = line.words.split("\n")
        yield f"  {line.level:<8} {first}"
        yield from (f"  {'':<8} {text}" for text in more)


def _changes(title: str, before: Message | None, after: Message | None, absent: str) -> Iterator[str]:
    """Yield a message with its changes: `+` is what the plugin put there, `-` what it took away."""
    if after is None:
        yield f"{title}: {absent}"
        return
    old, new = _lines(before), _lines(after)
    yield title if old != new else f"{title}: unchanged"
    for kind, old_start, old_end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (f"    {line}".rstrip() for line in old[old_start:old_end])
        else:
            yield from (f"  - {line}" for line in old[old_start:old_end])
            yield from (f"  + {line}" for line in new[new_start:new_end])


def _lines(message: Message | None) -> Sequence[str]:
    if message is None:
        return ()
    headers = [
        f"{name}: {'(varies)' if name in VOLATILE_HEADERS else value}"
        for name, value in sorted(message.headers, key=lambda header: header[0])
    ]
    return (message.start, *headers, *_body_lines(message.body))


def _body_lines(body: bytes) -> Iterator[str]:
    if not body:
        return
    yield ""
    try:
        lines = body.decode().split("\n")
    except UnicodeDecodeError:
        lines = []
    if lines and len(body) <= BODY_BYTES_SHOWN_MAX and len(lines) <= BODY_LINES_SHOWN_MAX:
        yield from lines[:-1]
        yield from (lines[-1], "(no newline at the end)") if lines[-1] else ()
    else:
        yield f"({len(body)} bytes, sha256 {hashlib.sha256(body).hexdigest()})"
