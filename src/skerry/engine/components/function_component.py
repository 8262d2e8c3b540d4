"""Components of our own worlds: whole requests in, whole responses out (`handler`), or filters (`filtering`).

An instance takes one request after the other, so what a program sets up once it has for all of them. The worlds are in
docs/reference/wit; what a filter is shown and gives is in `passing`.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from wasmtime import Engine as WasmEngine
from wasmtime import WasmtimeError
from wasmtime.component import Component

from skerry.engine.components import passing, wasi
from skerry.engine.components.calls import ExitedError, Export, ExportedFunction
from skerry.engine.components.guest import Guest, Pollable
from skerry.engine.components.imports import BoundImports, HostFunction, Interface, Offer
from skerry.engine.components.values import Err, Ok
from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.fetching import Event, EventKind
from skerry.engine.instances import BodySource, FilterReply, Reply, Surroundings
from skerry.engine.key_values import KeyValueError
from skerry.engine.kv_operations import KvAnswer, KvQuestion
from skerry.engine.manifest import FunctionManifest

FUNCTION_HANDLER = "skerry:function/handler"
FUNCTION_FILTERING = "skerry:function/filtering"
FUNCTION_VERSIONS = re.compile(r"0\.1\.\d+")
#: A byte of a list takes 64 while it crosses, and a nanosecond or ten; larger bodies are for `wasi:http`.
BODY_BYTES_MAX = 2 * 1024 * 1024
#: What an instance is counted for; its memory can't be looked into.
INSTANCE_BYTES = 16 * 1024 * 1024
#: An instance must be made in this time.
LOAD_SECONDS_MAX = 10.0

_TOO_LARGE = f"at most {BODY_BYTES_MAX} bytes"
_HEADERS = "headers: list<tuple<string, string>>"
_REQUEST = f"method: string, url: string, {_HEADERS}"
_RESPONSE = f"status: u16, {_HEADERS}"
_WHOLE = "body: list<u8>"
_MAYBE = "body: option<list<u8>>"
_VERDICT = f"variant {{respond: record {{{_RESPONSE}, {_WHOLE}}}, forward: option<record {{{_REQUEST}, {_MAYBE}}}>}}"
#: What our interfaces export, and its shape.
_FUNCTIONS = {
    FUNCTION_HANDLER: {
        "handle": f"(record {{{_REQUEST}, {_WHOLE}}}) -> result<record {{{_RESPONSE}, {_WHOLE}}}, string>",
    },
    FUNCTION_FILTERING: {
        "on-request": f"(record {{{_REQUEST}}}) -> result<{_VERDICT}, string>",
        "on-response": f"(record {{{_RESPONSE}}}, record {{{_REQUEST}}})"
        f" -> result<option<record {{{_RESPONSE}, {_MAYBE}}}>, string>",
    },
}
_LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}


class _Response:
    """A response of a subrequest, as it comes."""

    def __init__(self) -> None:
        self.head = b""
        self.body = bytearray()
        self.is_whole = False
        self.error: tuple[str, str] | None = None
        self.wants_more = False

    def take(self, event: Event) -> None:
        """Take what has happened."""
        self.body += event.data
        self.wants_more = event.kind in (EventKind.HEAD, EventKind.PIECE)
        if event.kind in (EventKind.HEAD, EventKind.WHOLE):
            self.head = event.text
        if event.kind is EventKind.FAILED:
            text = event.text.decode(errors="replace")
            self.error = ("refused" if event.is_refused else "failed", text)
        elif len(self.body) > BODY_BYTES_MAX:
            self.error = ("failed", f"the response's body is too large: {_TOO_LARGE}")
        self.is_whole = self.error is not None or not self.wants_more


def _send(guest: Guest, request: tuple[str, str, list[tuple[str, str]], bytes]) -> Ok | Err:
    method, url, headers, body = request
    parts = [method, url, *(part for pair in headers for part in pair)]
    if any("\n" in part or "\r" in part for part in parts):
        return Err(("failed", "the request is not HTTP"))
    response = _Response()
    number = guest.start_subrequest("\n".join(parts).encode(), body, response.take)
    pollable = Pollable(lambda: response.is_whole or response.wants_more)
    while not response.is_whole:
        guest.wait([pollable])
        if response.wants_more and not response.is_whole:
            response.wants_more = False
            guest.subrequests.read(number)
    if response.error is not None:
        guest.subrequests.cancel(number)
        return Err(response.error)
    status, _reason, *pairs = response.head.decode().split("\n")
    return Ok((int(status), list(zip(pairs[::2], pairs[1::2], strict=True)), bytes(response.body)))


def _log(guest: Guest, level: str, message: str) -> None:
    guest.output.say(_LEVELS[level], message.encode())


def _keep(guest: Guest, question: Mapping[str, object], data: bytes = b"") -> KvAnswer:
    if guest.surroundings.key_values is None:
        raise KeyValueError("the function was not granted the capability kv")
    asked = KvQuestion(orjson.dumps(question), data)
    if guest.surroundings.key_values.is_slow(asked):
        guest.before_wait()
    # A wait in here is no wait of the guest's: no deadline would end it.
    wait_seconds = (guest.time.deadline_ns - time.monotonic_ns()) / 1e9
    return guest.surroundings.key_values.answer(asked, wait_seconds=wait_seconds)


def _kv(operation: HostFunction) -> HostFunction:
    def answer(guest: Guest, *arguments: Any) -> Ok | Err:
        try:
            return Ok(operation(guest, *arguments))
        except KeyValueError as error:
            return Err(error.public)

    return answer


def _get(guest: Guest, key: str) -> bytes | None:
    answer = _keep(guest, {"operation": "get", "key": key})
    return None if answer.text == b"null" else answer.data


def _put(guest: Guest, key: str, value: bytes, ttl_seconds: int | None) -> None:
    _keep(guest, {"operation": "put", "key": key, "expirationTtl": ttl_seconds}, value)


def _delete(guest: Guest, key: str) -> None:
    _keep(guest, {"operation": "delete", "key": key})


def _list(guest: Guest, prefix: str, limit: int, cursor: str | None) -> tuple[list[str], str | None]:
    answer = _keep(guest, {"operation": "list", "prefix": prefix, "limit": limit, "cursor": cursor or ""})
    listed = orjson.loads(answer.text)
    return [entry["name"] for entry in listed["keys"]], listed.get("cursor")


_NOTHING = Interface(FUNCTION_VERSIONS)
_OFFER: Offer = {
    **wasi.OFFER,
    "skerry:function/types": _NOTHING,
    "skerry:function/fetch": Interface(FUNCTION_VERSIONS, {"send": _send}),
    "skerry:function/log": Interface(FUNCTION_VERSIONS, {"write": _log}),
    "skerry:function/message": Interface(FUNCTION_VERSIONS, {"read-body": passing.read_body}),
    "skerry:function/kv": Interface(
        FUNCTION_VERSIONS, {"get": _kv(_get), "put": _kv(_put), "delete": _kv(_delete), "list": _kv(_list)}
    ),
}


class FunctionComponent:
    """A component; `code.Code`.

    Args:
        engine: with epoch interruption.
        component: compiled.
        interfaces: full names of those of ours that it exports.

    Raises:
        LoadError: it imports what is not offered, or exports something else by these names.
    """

    streams = False

    def __init__(self, engine: WasmEngine, component: Component, interfaces: Sequence[str]) -> None:
        self._engine = engine
        self._imports = BoundImports(engine, component, _OFFER)
        self._exports = {
            name: Export(engine, component, interface, name, numbers=self._imports.number_of).require(shape)
            for interface in interfaces
            for name, shape in _FUNCTIONS[interface.partition("@")[0]].items()
        }
        self.what = f"a component that exports {' and '.join(interfaces)}"
        self.answers = "handle" in self._exports
        self.filters = "on-request" in self._exports

    def start(self, manifest: FunctionManifest, surroundings: Surroundings) -> "ComponentInstance":
        """Return an instance; raises LoadError where none can be made."""
        guest = Guest(self._engine, manifest, surroundings)
        guest.enter(None, LOAD_SECONDS_MAX)
        try:
            instance = self._imports.instantiate(guest)
            return ComponentInstance(guest, {name: each.bind(guest, instance) for name, each in self._exports.items()})
        except WasmtimeError as error:
            first = str(error).strip().splitlines()[0]
            raise LoadError(f"no instance can be made of the function's binary: {first}", stack=str(error)) from error
        finally:
            guest.leave()


class ComponentInstance:
    """Answers, or filters, one request after the other; `instances.FunctionInstance` and `instances.Filter`."""

    sees_responses = True

    def __init__(self, guest: Guest, functions: Mapping[str, ExportedFunction]) -> None:
        self.counted_bytes = self.cpu_ns = 0
        self.invocation = guest.surroundings.invocation
        self._guest = guest
        self._functions = functions

    @property
    def filter(self) -> "ComponentInstance | None":
        """Its side as a filter; None where it exports none."""
        return self if "on-request" in self._functions else None

    @property
    def memory_bytes(self) -> int:
        """What it is counted for."""
        return INSTANCE_BYTES

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> Reply:
        """Answer one request; see `FunctionInstance`."""
        if len(body) > BODY_BYTES_MAX:
            message = f"the request's body is too large for {FUNCTION_HANDLER}: {_TOO_LARGE}"
            raise CallError(FailureKind.BODY_TOO_LARGE, message)
        return _reply(self._call("handle", ((*passing.request_head(head), body),), timeout_seconds))

    def filter_request(self, head: bytes, body: BodySource | None, timeout_seconds: float) -> FilterReply:
        """See a request; see `Filter`."""
        self._guest.passing_body = body or passing.no_body
        return passing.request_reply(self._call("on-request", (passing.request_head(head),), timeout_seconds))

    def filter_response(
        self, request_head: bytes, head: bytes, body: BodySource | None, timeout_seconds: float
    ) -> FilterReply:
        """See the answer to a request; see `Filter`."""
        self._guest.passing_body = body or passing.no_body
        shown = (passing.response_head(head), passing.request_head(request_head))
        return passing.response_reply(self._call("on-response", shown, timeout_seconds))

    def _call(self, name: str, arguments: tuple[object, ...], timeout_seconds: float) -> Any:
        """Return the value of an export's result; raises CallError."""
        if name not in self._functions:
            raise CallError(FailureKind.LOAD, f"the function's component exports no function {name!r}")
        self._guest.enter(self, timeout_seconds)
        try:
            answer = self._functions[name](*arguments)
        except ExitedError as error:
            raise CallError(FailureKind.EXCEPTION, "the function ended its program instead of an answer") from error
        except CallError as failure:
            raise self._guest.cause_of(failure) from None  # it may be the very same
        finally:
            self.cpu_ns = self._guest.leave()
        if isinstance(answer, Err):
            raise CallError(FailureKind.EXCEPTION, f"the function answered with an error: {answer.value}")
        return answer.value

    def stop(self, error: CallError) -> None:
        """Have the present call end; see `FunctionInstance`."""
        self._guest.time.stop(error)

    def settle(self, timeout_seconds: float) -> None:
        """Nothing is left to do after a request."""


def _reply(response: tuple[int, list[tuple[str, str]], bytes]) -> Reply:
    status, headers, body = response
    if len(body) > BODY_BYTES_MAX:
        message = f"the function's response is too large for {FUNCTION_HANDLER}: {_TOO_LARGE}"
        raise CallError(FailureKind.RESPONSE_TOO_LARGE, message)
    return Reply(status, passing.header_lines(headers), body, work_left=False)
