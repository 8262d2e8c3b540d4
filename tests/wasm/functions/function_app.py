"""A component of our own world for tests: each path does what its name says."""

import os
import sys
from urllib.parse import parse_qs, urlsplit

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import fetch, kv, log
from wit_world.imports.types import Request, Response

_served = 0


def _text(text: str, status: int = 200) -> Response:
    return Response(status, [("Content-Type", "text/plain"), ("x-made-by", "python")], text.encode())


def _fetched(url: str) -> Response:
    try:
        answer = fetch.send(Request("POST", url, [("x-from", "a function")], b"sent"))
    except Err as error:
        return _text(f"{type(error.value).__name__}: {error.value.value}", 502)
    return Response(answer.status, [("x-type", dict(answer.headers)["content-type"])], answer.body)


def _kept() -> Response:
    kv.put("b", b"2", 60)
    kv.put("a", b"1", None)
    kv.delete("b")
    page = kv.list("", 10, None)
    return _text(f"{page.keys} {page.cursor} {kv.get('a')} {kv.get('b')}")


class Handler(exports.Handler):
    def handle(self, request: Request) -> Response:
        global _served
        _served += 1
        address = urlsplit(request.url)
        match address.path:
            case "/echo":
                return Response(200, [], request.body)
            case "/headers":
                return _text(f"{request.method} {dict(request.headers)['x-asked']} {address.query}")
            case "/fetch":
                return _fetched(parse_qs(address.query)["to"][0])
            case "/kv":
                return _kept()
            case "/served":
                return _text(str(_served))
            case "/error":
                raise Err("an error of its own")
            case "/raise":
                raise LookupError("as asked")
            case "/trap":
                os.abort()
            case "/loop":
                while True:
                    pass
            case "/memory":
                kept = []
                while True:
                    kept.append(bytearray(1 << 20))
            case "/flood":
                while True:
                    sys.stderr.write("out of the flood\n")
            case "/large":
                return Response(200, [], bytes((2 << 20) + 1))
        sys.stderr.write("said by python\n")
        log.write(log.Level.WARN, "warned by python")
        return _text(f"{os.environ['GREETING']} from python")
