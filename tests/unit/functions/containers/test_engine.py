"""An engine whose images come and go while it is asked for them."""

import json
import socketserver
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from skerry.functions.containers.engine import connected
from skerry.testing.threaded import in_a_thread

OURS, OTHERS = {"owner": "us", "role": "function"}, {"owner": "them", "role": "function"}
IMAGES = [
    {"Id": "sha256:1", "RepoTags": ["localhost/func-1:latest"], "Labels": OURS},
    {"Id": "sha256:2", "RepoTags": ["localhost/func-2:latest"], "Labels": OTHERS},
    {"Id": "sha256:3", "RepoTags": ["<none>:<none>"], "Labels": OURS},
    {"Id": "sha256:4", "RepoTags": None, "Labels": None},
]


class Handler(BaseHTTPRequestHandler):
    """Lists images that are gone when they are looked at."""

    def do_GET(self) -> None:
        known = {"/version": {"ApiVersion": "1.41"}, "/v1.41/images/json": IMAGES}
        answer = known.get(self.path.partition("?")[0])
        body = json.dumps(answer or {"message": "no such image"}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "somebody"  # a Unix socket has no address

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="skerry-engine-") as folder:
        path = Path(folder) / "socket"
        with in_a_thread(socketserver.ThreadingUnixStreamServer(str(path), Handler)):
            yield f"unix://{path}"


async def test_images_are_listed_also_where_one_of_them_goes_meanwhile(host: str) -> None:
    async with connected(host) as engine:
        assert await engine.images(OURS) == {"localhost/func-1:latest": OURS}
