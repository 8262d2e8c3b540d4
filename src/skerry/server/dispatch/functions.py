"""Functions: create, list, get, replace, delete."""

from skerry.api.dispatch_v1 import FUNCTION, UPDATING, Function, FunctionSpec
from skerry.api.errors import AlreadyExists
from skerry.api.model import ObjectMeta
from skerry.server.dispatch.bodies import (
    FunctionBody,
    check_name,
    function_json,
    function_spec,
    source_of,
    stored_source,
)
from skerry.server.dispatch.door import Asked, Operation, Sources
from skerry.server.dispatch.selecting import has_application, wanted_applications
from skerry.server.http import Response
from skerry.server.operations import json

_COLLECTION = "/v1/function"
_ITEM = "/v1/function/{name}"


class Functions:
    """The handlers of functions.

    Args:
        sources: keeps what is uploaded.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("POST", _COLLECTION, "create", FUNCTION, self.create),
            Operation("GET", _COLLECTION, "list", FUNCTION, self.list),
            Operation("GET", _ITEM, "get", FUNCTION, self.get),
            Operation("PUT", _ITEM, "update", FUNCTION, self.replace),
            Operation("DELETE", _ITEM, "delete", FUNCTION, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Register a function; it is deployed afterwards."""
        body = await asked.body(FunctionBody)
        check_name(body.name)
        function = Function(metadata=ObjectMeta(name=body.name), spec=await self._spec(body))
        try:
            return json(function_json(await asked.objects.create(function)), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"function {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List functions."""
        wanted = wanted_applications(asked.query_list("tags"))
        found = [f async for f in asked.objects.list(Function) if has_application(f.spec.tags, wanted)]
        return json([function_json(function) for function in found])

    async def get(self, asked: Asked) -> Response:
        """Return a function."""
        wanted_applications(asked.query_list("tags"))
        return json(function_json(await asked.objects.get(Function, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace a function; what runs now serves until the new state is deployed."""
        body = await asked.body(FunctionBody)
        await asked.objects.get(Function, asked.name)  # before a source is kept for one that is not there
        spec = await self._spec(body)

        def change(function: Function) -> None:
            function.spec = spec

        return json(function_json(await asked.objects.change(Function, asked.name, change)) | {"status": UPDATING})

    async def delete(self, asked: Asked) -> Response:
        """Delete a function, with its deployments and runs."""
        return json(function_json(await asked.objects.delete(Function, asked.name)) | {"status": "DELETING"})

    async def _spec(self, body: FunctionBody) -> FunctionSpec:
        if body.source_url and not body.code and not body.source:
            return function_spec(body, None, stored_source(body.source_url))
        text, archive = source_of(body)
        artifact = await self._sources.keep(archive) if archive is not None else None
        return function_spec(body, text, artifact)
