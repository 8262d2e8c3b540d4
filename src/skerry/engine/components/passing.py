"""What components are shown of messages, and what they give: between our world's values and the lines of `instances`.

Pure, but for the one body that a filter may take. What is given is not checked for being HTTP: `filter_heads` does.
"""

from typing import Any, TypeAlias

from skerry.engine.components.guest import Guest, GuestEndedError
from skerry.engine.components.values import Err, Ok
from skerry.engine.errors import CallError, FailureKind, UnreadableBodyError
from skerry.engine.instances import FilterReply

Headers: TypeAlias = list[tuple[str, str]]

_PASS = FilterReply("pass", 200, b"", None, work_left=False)


def no_body(_deadline_ns: int) -> bytes:
    """Bring the body of a message that has none."""
    return b""


def read_body(guest: Guest) -> Ok | Err:
    """Bring the body of the message that a filter sees; `message.read-body`."""
    if guest.passing_body is None:
        return Err("a body can be read while a filter sees its message, not otherwise")
    guest.time.before_wait()  # and not `guest.before_wait`: whoever brings it says how it waits
    try:
        return Ok(guest.passing_body(guest.time.deadline_ns))
    except UnreadableBodyError as error:
        return Err(error.public)
    except TimeoutError:
        guest.time.stop_late()
        raise GuestEndedError(guest.time.stopped) from None


def request_head(lines: bytes) -> tuple[str, str, Headers]:
    """Return method, URL and headers of a request's lines (`FunctionInstance.handle`)."""
    method, url, *pairs = lines.decode().split("\n")
    return method, url, _headers(pairs)


def response_head(lines: bytes) -> tuple[int, Headers]:
    """Return status and headers of a response's lines (`Filter.filter_response`)."""
    status, _reason, *pairs = lines.decode().split("\n")
    return int(status), _headers(pairs)


def header_lines(headers: Headers) -> bytes:
    """Write a response's headers as `Reply` has them."""
    return "".join([f"{name.lower()}: {value.strip()}\r\n" for name, value in headers]).encode()


def request_reply(verdict: tuple[str, Any]) -> FilterReply:
    """Return what `on-request` made of a request; raises CallError for what is none."""
    case, given = verdict
    if given is None:
        return _PASS
    if case == "respond":
        return response_reply(given)
    method, url, headers, body = given
    parts = [method, url, *(part for name, value in headers for part in (name, value.strip()))]
    if any("\n" in part for part in parts):
        raise CallError(FailureKind.BAD_RESPONSE, "the function's request has a line break in its head")
    return FilterReply("request", 200, "\n".join(parts).encode(), body, work_left=False)


def response_reply(response: tuple[int, Headers, bytes | None] | None) -> FilterReply:
    """Return the response that a filter gave, or that a message goes on; raises CallError for what is none."""
    if response is None:
        return _PASS
    status, headers, body = response
    if not 200 <= status <= 599:  # 101 would switch protocols, which is the backend's
        raise CallError(FailureKind.BAD_RESPONSE, f"the function's response has status {status}: 200 to 599")
    return FilterReply("response", status, header_lines(headers), body, work_left=False)


def _headers(pairs: list[str]) -> Headers:
    return list(zip(pairs[::2], pairs[1::2], strict=True))
