"""A function in Python: counts visits in the key/value store, and greets by name."""

import os
from urllib.parse import parse_qs, urlsplit

from wit_world import exports
from wit_world.imports import kv, log
from wit_world.imports.types import Request, Response


class Handler(exports.Handler):
    def handle(self, request: Request) -> Response:
        name = parse_qs(urlsplit(request.url).query).get("name", ["world"])[0]
        visits = int(kv.get("visits") or b"0") + 1
        kv.put("visits", str(visits).encode(), None)
        log.write(log.Level.INFO, f"visit {visits}")
        greeting = os.environ.get("GREETING", "Hello")
        return Response(200, [("content-type", "text/plain")], f"{greeting}, {name}! Visit {visits}.\n".encode())
