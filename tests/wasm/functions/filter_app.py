"""A filter of our own world for tests: the first segment of the path says what it does."""

import os
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log, message
from wit_world.imports.types import (
    ChangedRequest,
    ChangedResponse,
    RequestHead,
    Response,
    ResponseHead,
    Verdict,
    Verdict_Forward,
    Verdict_Respond,
)


def _length() -> str:
    try:
        return str(len(message.read_body()))
    except Err as error:
        return error.value


def _done(request: RequestHead) -> str:
    return urlsplit(request.url).path.split("/")[1]


class Filtering(exports.Filtering):
    def on_request(self, request: RequestHead) -> Verdict:
        method, url, headers, body = request.method, request.url, list(request.headers), None
        match _done(request):
            case "deny":
                return Verdict_Respond(Response(418, [("x-why", "rule")], b"not today\n"))
            case "headers":
                headers = [entry for entry in headers if entry[0] != "x-secret"]
                headers.append(("x-added", os.environ["GREETING"]))
            case "path":
                method, url = "PATCH", "http://inner.test/elsewhere?from=filter"
            case "body":
                body = message.read_body().upper()
            case "look":
                headers.append(("x-length", _length()))
            case "error" | "error-open":
                raise Err("an error of its own")
            case "trap" | "trap-open":
                os.abort()
            case "loop" | "loop-open":
                while True:
                    pass
            case "newline":
                headers.append(("x-a", "b\nc: d"))
            case "large":
                return Verdict_Respond(Response(200, [], bytes((1 << 20) + 1)))
            case _:
                return Verdict_Forward(None)
        return Verdict_Forward(ChangedRequest(method, url, headers, body))

    def on_response(self, response: ResponseHead, request: RequestHead) -> ChangedResponse | None:
        match _done(request):
            case "answers":
                seen = ("x-seen", f"{request.method} {urlsplit(request.url).path}")
                return ChangedResponse(response.status, [*response.headers, seen], None)
            case "rewrite":
                return ChangedResponse(203, response.headers, message.read_body() + b"!")
            case "late":
                raise LookupError("as asked")
            case "status":
                return ChangedResponse(101, [], None)
        log.write(log.Level.INFO, f"saw {response.status}")
        return None
