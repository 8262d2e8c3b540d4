"""An engine whose images come and go while it is asked for them, and whose ports somebody else may have."""

import json
import socketserver
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from skerry.functions import SystemError  # noqa: A004
from skerry.functions.containers.engine import STARTS_MAX, ContainerSpec, connected
from skerry.testing.threaded import in_a_thread

OURS, OTHERS = {"owner": "us", "role": "function"}, {"owner": "them", "role": "function"}
IMAGES = [
    {"Id": "sha256:1", "RepoTags": ["localhost/func-1:latest"], "Labels": OURS},
    {"Id": "sha256:2", "RepoTags": ["localhost/func-2:latest"], "Labels": OTHERS},
    {"Id": "sha256:3", "RepoTags": ["<none>:<none>"], "Labels": OURS},
    {"Id": "sha256:4", "RepoTags": None, "Labels": None},
]


@dataclass
class Engine:
    """Lists images that are gone when they are looked at, and finds the ports of its first containers taken.

    Attributes:
        ports_taken: of so many containers.
        created: how many there have been.
        running: the ids of those that run; of those that are there, all.
    """

    ports_taken: int = 0
    created: int = 0
    running: set[str] = field(default_factory=set)
    there: set[str] = field(default_factory=set)

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        match method, path.partition("?")[0].removeprefix("/v1.41").strip("/").split("/"):
            case "GET", ["version"]:
                return 200, {"ApiVersion": "1.41"}
            case "GET", ["images", "json"]:
                return 200, IMAGES
            case "POST", ["containers", "create"]:
                self.created += 1
                self.there.add(f"c{self.created}")
                return 201, {"Id": f"c{self.created}", "Warnings": []}
            case "GET", ["containers", name, "json"] if name in self.there:
                return 200, {"Id": name, "Name": "/f", "Config": {"Labels": {}}, "State": {"Status": "created"}}
            case "POST", ["containers", name, "start"]:
                if self.created <= self.ports_taken:
                    return 500, {"message": "listen tcp 127.0.0.1:40001: bind: address already in use"}
                self.running.add(name)
                return 204, None
            case "DELETE", ["containers", name]:
                self.there.discard(name)
                return 204, None
        return 404, {"message": "there is none such"}


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    """Serve an engine for the length of the block; yields where."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, document = engine.answer(self.command, self.path)
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = handle_one  # noqa: N815 - http.server's names

        def address_string(self) -> str:
            return "somebody"  # a Unix socket has no address

        def log_message(self, *_: object) -> None:
            pass

    with tempfile.TemporaryDirectory(prefix="skerry-engine-") as folder:
        path = Path(folder) / "socket"
        with in_a_thread(socketserver.ThreadingUnixStreamServer(str(path), Handler)):
            yield f"unix://{path}"


async def test_images_are_listed_also_where_one_of_them_goes_meanwhile() -> None:
    with serving(Engine()) as host:
        async with connected(host) as engine:
            assert await engine.images(OURS) == {"localhost/func-1:latest": OURS}


async def test_a_container_whose_port_somebody_else_has_is_made_anew() -> None:
    with serving(served := Engine(ports_taken=STARTS_MAX - 1)) as host:
        async with connected(host) as engine:
            await engine.start(ContainerSpec("image", "f"))
    assert (served.running, served.there) == ({f"c{STARTS_MAX}"}, {f"c{STARTS_MAX}"})


async def test_a_container_that_never_starts_is_told_of() -> None:
    with serving(served := Engine(ports_taken=10 * STARTS_MAX)) as host:
        async with connected(host) as engine:
            with pytest.raises(SystemError, match="address already in use"):
                await engine.start(ContainerSpec("image", "f"))
    assert served.created == STARTS_MAX
