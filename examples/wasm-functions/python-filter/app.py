"""A filter in Python: requests need a key, backends are told who asks, and answers say that they were guarded."""

import os

from wit_world import exports
from wit_world.imports import log
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


class Filtering(exports.Filtering):
    def on_request(self, request: RequestHead) -> Verdict:
        if dict(request.headers).get("x-key") != os.environ.get("KEY", "open-sesame"):
            log.write(log.Level.WARN, f"no key for {request.url}")
            return Verdict_Respond(Response(401, [("content-type", "text/plain")], b"a key is needed\n"))
        headers = [entry for entry in request.headers if entry[0] != "x-key"]
        headers.append(("x-user", "ali"))
        return Verdict_Forward(ChangedRequest(request.method, request.url, headers, None))

    def on_response(self, response: ResponseHead, request: RequestHead) -> ChangedResponse | None:
        return ChangedResponse(response.status, [*response.headers, ("x-guarded", request.method)], None)
