"""CloudEvents as they come over HTTP: versions 1.0 and 0.1, binary, structured and in batches, and Dispatch's emission.

Owns what is read of a request, and the words in which a bad event is refused. 1.0 is read by the CloudEvents SDK; 0.1
is what Dispatch's clients send, and no SDK knows it any more. Does not own what becomes of an event.
"""

import base64
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException, CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat

from skerry.api.dispatch_events import EVENT_TYPE, EVENT_TYPE_CHARACTERS_MAX, Event
from skerry.api.dispatch_traces import TraceContext, trace_of
from skerry.api.errors import BadRequest, RequestEntityTooLarge
from skerry.api.model import Document
from skerry.api.shapes import read_json
from skerry.kit.clock import from_rfc3339

#: Events of one batch.
BATCH_EVENTS_MAX = 100

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_PREFIX = "ce-"
_VERSION_01 = "0.1"
_VERSION_10 = "1.0"
_EXTENSION_PREFIX_01 = "x-"
#: Names of version 0.1, and what they are called in 1.0.
_NAMES_01 = {
    "eventType": "type",
    "eventID": "id",
    "source": "source",
    "cloudEventsVersion": "specversion",
    "eventTime": "time",
    "eventTypeVersion": "eventtypeversion",
    "schemaURL": "dataschema",
    "contentType": "datacontenttype",
}
_HEADERS_01 = {name.lower(): name for name in _NAMES_01}
_JSON = re.compile(r"[\w.-]+/([\w.-]+\+)?json", re.ASCII)


def read_events(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """Read the events of a request: one, or those of a batch.

    An event's trace is what it says itself (the extension for distributed tracing), else that of the request.

    Args:
        headers: by name in lower case.
        body: as it came.

    Raises:
        BadRequest: it holds no events, or one that is none.
        RequestEntityTooLarge: a batch has too many.
    """
    return [replace(event, trace=_trace(event.attributes) or _trace(headers)) for event in _events(headers, body)]


def _trace(fields: Mapping[str, str]) -> TraceContext | None:
    return trace_of(fields.get("traceparent", ""), fields.get("tracestate", ""))


def _events(headers: Mapping[str, str], body: bytes) -> list[Event]:
    media = _media_type(headers.get("content-type", ""))
    if media == _BATCH:
        return _batch(body)
    if media == _STRUCTURED:
        return [_of_document(_object(body))]
    if f"{_PREFIX}cloudeventsversion" in headers:
        return [_of_binary_01(headers, body)]
    if f"{_PREFIX}specversion" in headers:
        return [_of_binary(headers, body)]
    document = _object(body)
    emitted = document.get("event")
    return [_of_document(emitted if isinstance(emitted, dict) else document)]


def is_emission(headers: Mapping[str, str]) -> bool:
    """Tell whether a request is of Dispatch's own form, and not of the HTTP binding of CloudEvents."""
    media = _media_type(headers.get("content-type", ""))
    bound = media in {_BATCH, _STRUCTURED} or any(name.startswith(_PREFIX) for name in headers)
    return not bound


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _batch(body: bytes) -> list[Event]:
    documents = _json(body)
    if not isinstance(documents, list):
        raise _invalid("a batch must be a JSON array")
    if len(documents) > BATCH_EVENTS_MAX:
        raise RequestEntityTooLarge(f"{len(documents)} events, and a batch may have {BATCH_EVENTS_MAX}")
    if not all(isinstance(document, dict) for document in documents):
        raise _invalid("each event of a batch must be a JSON object")
    return [_of_document(document) for document in documents]


def _object(body: bytes) -> Document:
    document = _json(body)
    if not isinstance(document, dict):
        raise _invalid("an event must be a JSON object")
    return document


def _json(body: bytes) -> Any:
    if not body:
        raise BadRequest("body in body is required")
    try:
        return read_json(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"parsing body: {error}") from error


def _of_document(document: Document) -> Event:
    if "cloudEventsVersion" in document or "eventType" in document:
        return _event_01({name: value for name, value in document.items() if name != "data"}, document.get("data"))
    if "specversion" not in document:
        raise _invalid("neither specversion nor cloudEventsVersion is given")
    return _event(document)


def _event(document: Document) -> Event:
    """Check a structured event of version 1.0."""
    shown = {k: v for k, v in document.items() if k not in {"data", "data_base64"} and v is not None}
    _check_attributes(shown)
    _checked_by_sdk(lambda: JSONFormat().read(None, orjson.dumps(shown)))
    encoded, data = document.get("data_base64"), document.get("data")
    if isinstance(encoded, str):
        if data is not None:
            raise _invalid("only one of data and data_base64 may be given")
        data = _decoded(encoded, str(shown.get("datacontenttype", "")))
    return Event(_attributes(shown), shown, data)


def _decoded(encoded: str, content_type: str) -> Any:
    try:
        return _value(base64.b64decode(encoded, validate=True), content_type)
    except ValueError as error:
        raise _invalid(f"data_base64: {error}") from error
    except BadRequest as error:
        raise _invalid(f"data_base64 is no JSON, as datacontenttype has it: {error.public}") from error


def _of_binary(headers: Mapping[str, str], body: bytes) -> Event:
    given = {name: value for name, value in headers.items() if name.startswith(_PREFIX) or name == "content-type"}
    shown = {
        name.removeprefix(_PREFIX): urllib.parse.unquote(value)
        for name, value in given.items()
        if name.startswith(_PREFIX)
    }
    _check_attributes(shown)
    _checked_by_sdk(lambda: from_binary(HTTPMessage(given, b""), JSONFormat()))
    if content_type := headers.get("content-type"):
        shown["datacontenttype"] = content_type
    return Event(_attributes(shown), shown, _value(body, headers.get("content-type", "")))


def _check_attributes(shown: Mapping[str, Any]) -> None:
    """Refuse what the SDK lets pass, or refuses without a name: it would make an id up, and reads version 0.3."""
    if missing := [name for name in ("id", "source", "type", "specversion") if name not in shown]:
        raise _invalid(f"{', '.join(missing)} must be given")
    if (version := shown["specversion"]) != _VERSION_10:
        raise _invalid(f"specversion must be {_VERSION_10}, and is {version!r}; {_VERSION_01} has cloudEventsVersion")
    _check_time("time", shown)


def _check_time(name: str, shown: Mapping[str, Any]) -> None:
    if name not in shown:
        return
    try:
        from_rfc3339(str(shown[name]))
    except ValueError as error:
        raise _invalid(f"{name} must be a time such as 2026-01-31T12:00:00Z, and is {shown[name]!r}") from error


def _checked_by_sdk(read: Callable[[], BaseCloudEvent]) -> None:
    """Let the SDK read an event, and refuse what it refuses, or what stumbles over."""
    try:
        event = read()
    except CloudEventValidationError as error:
        raise _invalid("; ".join(str(each) for found in error.errors.values() for each in found)) from error
    except BaseCloudEventException as error:
        raise _invalid(str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise _invalid(str(error)) from error
    if len(event.get_type()) > EVENT_TYPE_CHARACTERS_MAX:
        raise _invalid(f"type is over {EVENT_TYPE_CHARACTERS_MAX} characters")


def _of_binary_01(headers: Mapping[str, str], body: bytes) -> Event:
    shown: Document = {}
    extensions = {}
    for header, value in headers.items():
        name = header.removeprefix(_PREFIX)
        if name == header:
            continue
        if name in _HEADERS_01:
            shown[_HEADERS_01[name]] = value
        else:
            extensions[name.removeprefix(_EXTENSION_PREFIX_01)] = value
    content_type = headers.get("content-type", "")
    more = {"contentType": content_type or None, "extensions": extensions or None}
    return _event_01({**shown, **{k: v for k, v in more.items() if v}}, _value(body, content_type))


def _event_01(shown: Document, data: Any) -> Event:
    """Check an event of version 0.1, by the rules of Dispatch."""
    for name in ("eventType", "cloudEventsVersion", "source", "eventID"):
        if not isinstance(shown.get(name), str) or not shown[name]:
            raise _invalid(f"{name} must be given, and not empty")
    if shown["cloudEventsVersion"] != _VERSION_01:
        raise _invalid(f"cloudEventsVersion must be {_VERSION_01}, and is {shown['cloudEventsVersion']!r}")
    if not EVENT_TYPE.fullmatch(shown["eventType"]) or len(shown["eventType"]) > EVENT_TYPE_CHARACTERS_MAX:
        wanted = f"letters, numbers, underscores, dashes and dots, at most {EVENT_TYPE_CHARACTERS_MAX}"
        raise _invalid(f"eventType must be of {wanted}")
    _check_time("eventTime", shown)
    extensions = shown.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise _invalid("extensions must be an object")
    named = {_NAMES_01[name]: value for name, value in shown.items() if name in _NAMES_01}
    return Event(_attributes({**(extensions or {}), **named}), shown, data)


def _attributes(shown: Document) -> dict[str, str]:
    """Return the attributes as text, as the HTTP binding writes them."""
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in shown.items()
        if value is not None
    }


def _value(body: bytes, content_type: str) -> Any:
    """Return data as JSON: what JSON it is, or its text, or its base64 where it is neither."""
    if not body:
        return None
    media = _media_type(content_type) or "application/json"
    if _JSON.fullmatch(media):
        return _json(body)
    try:
        return body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()


def _invalid(problem: str) -> BadRequest:
    return BadRequest(f"Error validating event: {problem}")
