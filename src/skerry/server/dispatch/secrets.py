"""Secrets: core/v1 Secrets of the organization, so that one secret serves every front door."""

import base64

from skerry.api.core_v1 import SECRET, Secret
from skerry.api.errors import AlreadyExists
from skerry.api.model import ObjectMeta
from skerry.server.dispatch.bodies import SecretBody, secret_json
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.http import Response
from skerry.server.operations import json

_COLLECTION = "/v1/secret"
_ITEM = "/v1/secret/{name}"
_OPAQUE = "Opaque"


class Secrets:
    """The handlers of secrets. Values are hidden unless `?values=true` asks for them."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("POST", _COLLECTION, "create", SECRET, self.create),
            Operation("GET", _COLLECTION, "list", SECRET, self.list),
            Operation("GET", _ITEM, "get", SECRET, self.get),
            Operation("PUT", _ITEM, "update", SECRET, self.replace),
            Operation("DELETE", _ITEM, "delete", SECRET, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Store a secret."""
        body = await asked.body(SecretBody)
        secret = Secret(metadata=ObjectMeta(name=body.name), type=_OPAQUE, data=_encoded(body))
        try:
            return json(secret_json(await asked.objects.create(secret), values=True), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"secret {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List secrets."""
        values = asked.query("values") == "true"
        found = [s async for s in asked.objects.list(Secret) if s.type == _OPAQUE]
        return json([secret_json(secret, values=values) for secret in found])

    async def get(self, asked: Asked) -> Response:
        """Return a secret."""
        secret = await asked.objects.get(Secret, asked.name)
        return json(secret_json(secret, values=asked.query("values") == "true"))

    async def replace(self, asked: Asked) -> Response:
        """Replace all values of a secret."""
        body = await asked.body(SecretBody)

        def change(secret: Secret) -> None:
            secret.data = _encoded(body)

        return json(secret_json(await asked.objects.change(Secret, asked.name, change), values=True), 201)

    async def delete(self, asked: Asked) -> Response:
        """Delete a secret."""
        await asked.objects.delete(Secret, asked.name)
        return Response(b"", 204)


def _encoded(body: SecretBody) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in body.secrets.items()}
