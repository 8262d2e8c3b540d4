"""Files for nodes that the control plane itself keeps, for fleets without an object storage.

    POST /v1/objects                            keep a file: {"source": "skerry", "object": "sha256:...", "md5": ...}
    GET  /v1/init/object?digest=&expires=&mac=  fetch it, by a URL that a node was given

Owns the signed URLs, and which URL an object of a configuration has. Does not own the bytes: they are artifacts, which
stay for as long as a configuration names them. What was answered for an upload can be pasted into a configuration.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlencode

from skerry.api.baetyl_configurations import CONFIGURATION, KEPT_SOURCE, ConfigurationObject
from skerry.api.errors import RequestEntityTooLarge
from skerry.artifacts.errors import ObjectUrlError
from skerry.artifacts.object_urls import URL_SECONDS, object_url
from skerry.kit.clock import Clock
from skerry.server.artifacts import CONTENT_TYPE, SEND_SECONDS_MAX, Artifacts
from skerry.server.baetyl import errors
from skerry.server.baetyl.door import Asked, Described, Operation
from skerry.server.http import Request, Response, Streaming
from skerry.server.operations import json

RESOURCE: Final = "object"
#: One file; it is held in memory on its way.
UPLOAD_BYTES_MAX = 64 * 1024 * 1024


class Keeping(Artifacts, Protocol):
    """Where files are kept."""

    async def keep(self, content: bytes) -> str:
        """Store bytes on disk and return their digest, sha256:<hex>."""
        ...


class StoredObjects:
    """The handlers of files, and their URLs.

    Args:
        keeping: keeps them.
        key: signs URLs.
        clock: tells which URLs hold.
    """

    def __init__(self, keeping: Keeping, key: bytes, clock: Clock) -> None:
        self._keeping = keeping
        self._key = key
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return what may be asked by people."""
        return [Operation("POST", "/v1/objects", "create", CONFIGURATION, self.upload, Described("StoredObject"))]

    async def upload(self, asked: Asked) -> Response:
        """Keep a file."""
        try:
            content = await asked.request.body(UPLOAD_BYTES_MAX)
        except RequestEntityTooLarge as error:
            raise errors.BaetylError("ErrDataTooLarge", f"a file has at most {UPLOAD_BYTES_MAX} bytes", 413) from error
        digest = await self._keeping.keep(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return json({"source": KEPT_SOURCE, "object": digest, "md5": md5})

    def urls_at(self, address: str) -> Callable[[ConfigurationObject], str]:
        """Return what makes the URLs of objects, for a node that reaches this server at an address."""

        def url(item: ConfigurationObject) -> str:
            if item.source == KEPT_SOURCE:
                return self._own_url(address, item.object or "")
            try:
                return object_url(item)
            except ObjectUrlError as error:
                raise errors.BaetylError("ErrObjectOperationException", error.public) from error

        return url

    def _own_url(self, address: str, digest: str) -> str:
        expires = str(int(self._clock.now().timestamp()) + URL_SECONDS)
        query = {"digest": digest, "expires": expires, "mac": self._mac(digest, expires)}
        return f"{address}/v1/init/{RESOURCE}?{urlencode(query)}"

    def opened(self, request: Request) -> Streaming:
        """Answer with a file; raises BaetylError for a URL that is not ours, or over."""
        digest, expires, mac = (request.query.get(name, "") for name in ("digest", "expires", "mac"))
        if not mac.isascii() or not hmac.compare_digest(self._mac(digest, expires), mac):
            raise errors.BaetylError("ErrInvalidToken", "The token is invalid (the URL is not one of this server)")
        if int(expires) <= self._clock.now().timestamp():
            raise errors.BaetylError("ErrInvalidToken", "The token is invalid (the URL has expired)")
        return Streaming(self._keeping.opened(digest), SEND_SECONDS_MAX, CONTENT_TYPE)

    def _mac(self, digest: str, expires: str) -> str:
        return hmac.new(self._key, f"{digest}\n{expires}".encode(), hashlib.sha256).hexdigest()
