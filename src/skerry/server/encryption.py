"""The front door of encryption at rest: which keys seal how much, and rotation.

    GET  /encryption          the keys, and how many objects each seals
    POST /encryption/rotate   make a new key, and re-encrypt everything under it

Owns the paths and their answers. Does not own keys or passes (`store.sealing`). No key's bytes ever pass here. Access
is that of paths that are no resources: of the default roles, cluster-admin alone has it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from skerry.api.errors import Conflict, MethodNotAllowed, NotFound
from skerry.api.model import Document
from skerry.server.access import Access, path_act, require
from skerry.server.http import Answer, Request, Response, Route, StatusRefusals
from skerry.store.sealing.keys import KeyInfo, KeyUnavailable
from skerry.store.sealing.resealing import Census, Resealer

STATUS_PATH = "/encryption"
ROTATE_PATH = "/encryption/rotate"
_METHODS = {STATUS_PATH: ("GET", "HEAD"), ROTATE_PATH: ("POST",)}


class EncryptionDoor(StatusRefusals):
    """Answers questions about encryption at rest, and rotates; a `Door`."""

    prefixes = (STATUS_PATH,)

    def __init__(self, resealer: Resealer, access: Access) -> None:
        self._resealer = resealer
        self._access = access
        #: One walk over the database at a time.
        self._counting = asyncio.Lock()

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        return [Route(methods[0], path) for path, methods in _METHODS.items()]

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`."""
        request.decision = require(self._access, request.user, path_act(request.method, request.path))
        methods = _METHODS.get(request.path)
        if methods is None:
            raise NotFound("the server could not find the requested resource")
        request.verb = "get" if request.path == STATUS_PATH else "post"
        if request.method not in methods:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        if request.path == ROTATE_PATH:
            return await self._rotate()
        async with self._counting:
            census = await self._resealer.census()
        return _json(self._described(census))

    async def _rotate(self) -> Response:
        try:
            key_id = await self._resealer.rotate()
        except KeyUnavailable as error:
            raise Conflict(str(error)) from error
        return _json({"key": key_id}, 202)

    def _described(self, census: Census) -> Document:
        keys = self._resealer.known_keys()
        created = {key.id: key.created for key in keys}
        missing = [key_id for key_id in census.values if key_id and key_id not in created]
        return {
            "keys": [
                {
                    "id": key_id,
                    "created": created.get(key_id),
                    "state": _state(key_id, keys),
                    "objects": census.objects[key_id],
                    "values": census.values[key_id],
                }
                for key_id in (*missing, *created)
            ],
            "plain": {"objects": census.objects[""], "values": census.values[""]},
            "undecryptable": {"values": census.undecryptable_count, "messages": census.undecryptable},
        }


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status)


def _state(key_id: str, keys: Sequence[KeyInfo]) -> str:
    key = next((key for key in keys if key.id == key_id), None)
    if key is None:
        return "missing"
    if key == keys[-1]:
        return "newest"
    return "unused" if key.unused else "older"
