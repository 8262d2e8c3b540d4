"""An HTTP request as a function sees it: its input, and the HTTP context.

Pure. The kinds of bodies, and what is told of others, are those of Dispatch's API gateway.
"""

import email.parser
import email.policy
import re
import urllib.parse
from email.message import EmailMessage
from typing import Any

import orjson

from skerry.api.errors import BadRequest, UnsupportedMediaType
from skerry.api.model import Document
from skerry.api.shapes import read_json

#: Fields of one form.
FORM_FIELDS_MAX = 1000

_JSON = re.compile(r"application/([\w.-]+\+)?json", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_WITHOUT_BODY = ("GET", "HEAD")


def payload_of(method: str, query: str, content_type: str, body: bytes) -> Any:
    """Return the input of a function: any JSON.

    Args:
        method: in capitals.
        query: without the question mark.
        content_type: as it came.
        body: as it came.

    Raises:
        BadRequest: the body, or the query, is not what it should be.
        UnsupportedMediaType: it is neither JSON nor a form.
    """
    if method in _WITHOUT_BODY:
        return _fields(query.encode())
    if not body:
        return {}
    media = content_type.partition(";")[0].strip().lower()
    if _JSON.fullmatch(media):
        try:
            return read_json(body)
        except orjson.JSONDecodeError as error:
            raise BadRequest("request body is not json") from error
    if media == _FORM:
        return _fields(body)
    if media == _MULTIPART:
        return _parts(content_type, body)
    raise UnsupportedMediaType(f"request body type is not supported: {content_type}")


def _fields(text: bytes) -> Document:
    try:
        values = urllib.parse.parse_qs(
            text.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX
        )
    except ValueError as error:
        raise BadRequest(f"the form or query can't be read: {error}") from error
    return {name: each[0] if len(each) == 1 else each for name, each in values.items()}


def _parts(content_type: str, body: bytes) -> Document:
    head = b"content-type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    message = email.parser.BytesParser(EmailMessage, policy=email.policy.HTTP).parsebytes(head + body)
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if not parts or message.defects:
        raise BadRequest("the form can't be read: it does not end with its boundary")
    if len(parts) > FORM_FIELDS_MAX:
        raise BadRequest(f"the form has over {FORM_FIELDS_MAX} fields")
    fields: dict[str, list[str]] = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise BadRequest("the form can't be read: a field has no name")
        content = part.get_payload(decode=True)
        fields.setdefault(name, []).append(content.decode(errors="replace") if isinstance(content, bytes) else "")
    return {name: each[0] if len(each) == 1 else each for name, each in fields.items()}


def http_context(
    headers: list[tuple[bytes, bytes]], *, method: str, target: str, scheme: str, version: str
) -> Document:
    """Return the HTTP context, by the names of Dispatch's API gateway.

    Args:
        headers: names in lower case; they are members of the context, too.
        method: in capitals.
        target: path and query as they came.
        scheme: http or https.
        version: of HTTP, such as "1.1".
    """
    path, _, query = target.partition("?")
    named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return {
        **{name: value for name, value in named.items() if not name.startswith(_INTERNAL)},
        "method": method,
        "request": f"{method} {target} HTTP/{version}",
        "request-uri": target,
        "uri": path,
        "args": query,
        "scheme": scheme,
        "server-protocol": f"HTTP/{version}",
    }


#: Headers between the gateway and us.
_INTERNAL = ("x-envoy-", "x-skerry-")
