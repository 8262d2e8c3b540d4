"""Endpoints, which Dispatch calls APIs: create, list, get, replace, delete. Both of its paths for them are served."""

from pydantic import Field

from skerry.api.dispatch_endpoints import ENDPOINT, PUBLIC, Endpoint, EndpointSpec
from skerry.api.dispatch_v1 import DELETING, UPDATING
from skerry.api.errors import AlreadyExists
from skerry.api.model import Document, ObjectMeta
from skerry.server.dispatch.bodies import Body, TagBody, reason_of, seconds_of, spec_of, tags_document, tags_json
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.dispatch.selecting import has_application, wanted_applications
from skerry.server.http import Response
from skerry.server.operations import json

#: As Dispatch's API manager has it, and as its last versions do.
_COLLECTIONS = ("/v1/api", "/v1/endpoint")


class EndpointBody(Body):
    """An endpoint as it is created or replaced."""

    name: str
    function: str
    hosts: list[str] | None = None
    uris: list[str] | None = None
    methods: list[str] | None = None
    protocols: list[str] | None = None
    authentication: str = PUBLIC
    enabled: bool = True
    cors: bool = False
    tls: str = ""
    tags: list[TagBody] | None = Field(default=None)


class Endpoints:
    """The handlers of endpoints."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [operation for path in _COLLECTIONS for operation in self._at(path, f"{path}/{{name}}")]

    def _at(self, collection: str, item: str) -> list[Operation]:
        return [
            Operation("POST", collection, "create", ENDPOINT, self.create),
            Operation("GET", collection, "list", ENDPOINT, self.list),
            Operation("GET", item, "get", ENDPOINT, self.get),
            Operation("PUT", item, "update", ENDPOINT, self.replace),
            Operation("DELETE", item, "delete", ENDPOINT, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Make an endpoint: 200, as Dispatch answers; it takes requests once it is READY."""
        body = await asked.body(EndpointBody)
        endpoint = Endpoint(metadata=ObjectMeta(name=body.name), spec=_spec(body))
        try:
            return json(_json(await asked.objects.create(endpoint)))
        except AlreadyExists as error:
            raise AlreadyExists(f"API {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List endpoints, of all functions or of one."""
        function, wanted = asked.query("function"), wanted_applications(asked.query_list("tags"))
        return json(
            [
                _json(endpoint)
                async for endpoint in asked.objects.list(Endpoint)
                if function in {"", endpoint.spec.function} and has_application(endpoint.spec.tags, wanted)
            ]
        )

    async def get(self, asked: Asked) -> Response:
        """Return an endpoint."""
        wanted_applications(asked.query_list("tags"))
        return json(_json(await asked.objects.get(Endpoint, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace an endpoint."""
        body = await asked.body(EndpointBody)

        def change(endpoint: Endpoint) -> None:
            endpoint.spec = _spec(body)

        return json(_json(await asked.objects.change(Endpoint, asked.name, change)) | {"status": UPDATING})

    async def delete(self, asked: Asked) -> Response:
        """Delete an endpoint."""
        return json(_json(await asked.objects.delete(Endpoint, asked.name)) | {"status": DELETING})


def _spec(body: EndpointBody) -> EndpointSpec:
    document: Document = body.model_dump(exclude={"name", "tags"})
    return spec_of(EndpointSpec, {**document, "tags": tags_document(body.tags)})


def _json(endpoint: Endpoint) -> Document:
    spec, status = endpoint.spec, endpoint.status
    return {
        "kind": "API",
        "id": endpoint.uid,
        "name": endpoint.name,
        "function": spec.function,
        "hosts": spec.hosts,
        "uris": spec.uris,
        "methods": spec.methods,
        "protocols": spec.protocols,
        "authentication": spec.authentication,
        "enabled": spec.enabled,
        "cors": spec.cors,
        "tls": spec.tls,
        "tags": tags_json(spec.tags),
        "urls": status.urls,
        "reason": reason_of(status.reason, status.conditions),
        "status": DELETING if endpoint.metadata.deletion_timestamp else status.state,
        "createdTime": seconds_of(endpoint.metadata.creation_timestamp),
    }
