"""Secrets, and credentials of image registries: core/v1 Secrets of two types, which do not see each other."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from skerry.api.baetyl_secrets import DATA_BYTES_MAX, DESCRIPTION_ANNOTATION, TYPE_LABEL, SecretType, data_bytes
from skerry.api.core_v1 import SECRET, Secret
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import Document, ObjectMeta
from skerry.server.baetyl import errors
from skerry.server.baetyl.bodies import Body, Texts, refuse_reserved, updated_at
from skerry.server.baetyl.door import Asked, Described, Operation, success
from skerry.server.baetyl.listing import LIST_QUERY, Listing, listed
from skerry.server.baetyl.usage import Usage
from skerry.server.http import Response
from skerry.server.operations import json

#: What secrets of a type are called.
_SORTS: Mapping[SecretType, str] = {"config": "secret", "registry": "registry", "certificate": "certificate"}


class SecretBody(Body):
    """A secret as it is created or replaced."""

    name: str = ""
    labels: Texts = None
    description: str = ""
    data: dict[str, str]


class RegistryBody(Body):
    """Credentials of a registry as they are created; of an update, the description counts."""

    name: str = ""
    description: str = ""
    address: str = ""
    username: str = ""
    password: str = ""


class PasswordBody(Body):
    """A new password."""

    password: str = ""


class Secrets:
    """The handlers of secrets.

    Args:
        usage: tells which applications mount them.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        collection, item = "/v1/secrets", "/v1/secrets/{name}"
        one, body = Described("Secret"), Described("Secret", SecretBody)
        return [
            Operation("POST", collection, "create", SECRET, self.create, body),
            Operation("GET", collection, "list", SECRET, self.list, Described("SecretList", query=LIST_QUERY)),
            Operation("GET", item, "get", SECRET, self.get, one),
            Operation("PUT", item, "update", SECRET, self.replace, body),
            Operation("DELETE", item, "delete", SECRET, self.delete),
            Operation("GET", f"{item}/apps", "get", SECRET, self.apps, Described("ApplicationList")),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create a secret."""
        body = await asked.body(SecretBody)
        refuse_reserved(body.name)
        secret = Secret(metadata=ObjectMeta(name=body.name, labels=body.labels), data=encoded(body.data))
        return json(_secret_view(await create_typed(asked, secret, "config", body.description)))

    async def list(self, asked: Asked) -> Response:
        """List secrets, without what is in them."""
        return json(await listed(asked, SECRETS))

    async def get(self, asked: Asked) -> Response:
        """Get a secret."""
        return json(_secret_view(await get_typed(asked, "config")))

    async def replace(self, asked: Asked) -> Response:
        """Replace what is in a secret; a change reaches the applications that mount it."""
        body = await asked.body(SecretBody)

        def change(secret: Secret) -> None:
            secret.data = encoded(body.data)
            describe(secret, body.description)

        return json(_secret_view(await change_typed(asked, "config", change)))

    async def delete(self, asked: Asked) -> Response:
        """Delete a secret that no application mounts."""
        return await delete_typed(asked, "config")

    async def apps(self, asked: Asked) -> Response:
        """List the applications that mount a secret."""
        await get_typed(asked, "config")
        return json(await self._usage.listed(asked, "secret"))


class Registries:
    """The handlers of credentials of image registries. Passwords never leave.

    Args:
        usage: tells which applications use them.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        collection, item = "/v1/registries", "/v1/registries/{name}"
        one, body = Described("Registry"), Described("Registry", RegistryBody)
        refresh = Described("Registry", PasswordBody)
        return [
            Operation("POST", collection, "create", SECRET, self.create, body),
            Operation("GET", collection, "list", SECRET, self.list, Described("RegistryList", query=LIST_QUERY)),
            Operation("GET", item, "get", SECRET, self.get, one),
            Operation("PUT", item, "update", SECRET, self.replace, body),
            Operation("DELETE", item, "delete", SECRET, self.delete),
            Operation("POST", f"{item}/refresh", "update", SECRET, self.refresh, refresh),
            Operation("GET", f"{item}/apps", "get", SECRET, self.apps, Described("ApplicationList")),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create credentials of a registry."""
        body = await asked.body(RegistryBody)
        refuse_reserved(body.name)
        keys = body.model_dump(include={"address", "username", "password"})
        if missing := [name for name, value in keys.items() if not value]:
            raise errors.invalid(f"{', '.join(missing)} required")
        secret = Secret(metadata=ObjectMeta(name=body.name), data=encoded(keys))
        return json(registry_view(await create_typed(asked, secret, "registry", body.description)))

    async def list(self, asked: Asked) -> Response:
        """List credentials of registries."""
        return json(await listed(asked, REGISTRIES))

    async def get(self, asked: Asked) -> Response:
        """Get credentials of a registry, less the password."""
        return json(registry_view(await get_typed(asked, "registry")))

    async def replace(self, asked: Asked) -> Response:
        """Replace the description of credentials; the rest stays."""
        body = await asked.body(RegistryBody)
        changed = await change_typed(asked, "registry", lambda secret: describe(secret, body.description))
        return json(registry_view(changed))

    async def refresh(self, asked: Asked) -> Response:
        """Replace the password; a change reaches the applications that use it."""
        body = await asked.body(PasswordBody)
        if not body.password:
            raise errors.invalid("password required")

        def change(secret: Secret) -> None:
            secret.data = {**(secret.data or {}), **encoded({"password": body.password})}

        return json(registry_view(await change_typed(asked, "registry", change)))

    async def delete(self, asked: Asked) -> Response:
        """Delete credentials that no application uses."""
        return await delete_typed(asked, "registry")

    async def apps(self, asked: Asked) -> Response:
        """List the applications that use credentials."""
        await get_typed(asked, "registry")
        return json(await self._usage.listed(asked, "secret"))


def encoded(data: dict[str, str]) -> dict[str, str]:
    """Write values as Secrets hold them; raises BaetylError where they are over `DATA_BYTES_MAX`."""
    written = {key: value.encode() for key, value in data.items()}
    if data_bytes(written) > DATA_BYTES_MAX:
        raise errors.BaetylError("ErrDataTooLarge", f"The data is over its limit of {DATA_BYTES_MAX} bytes.")
    return {key: base64.b64encode(value).decode() for key, value in written.items()}


def decoded(secret: Secret) -> dict[str, str]:
    """Return the values of a secret; bytes that are no text are replaced."""
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.data or {}).items()}


def describe(secret: Secret, description: str) -> None:
    """Give a secret its description."""
    annotations = dict(secret.metadata.annotations or {})
    annotations.pop(DESCRIPTION_ANNOTATION, None)
    secret.metadata.annotations = annotations | ({DESCRIPTION_ANNOTATION: description} if description else {})


async def create_typed(asked: Asked, secret: Secret, secret_type: SecretType, description: str) -> Secret:
    """Store a new secret of a type."""
    secret.metadata.labels = {**(secret.metadata.labels or {}), TYPE_LABEL: secret_type}
    describe(secret, description)
    try:
        return await asked.objects.create(secret)
    except AlreadyExists as error:
        raise errors.invalid("this name is already in use") from error


async def get_typed(asked: Asked, secret_type: SecretType) -> Secret:
    """Return the secret that the path names; raises BaetylError for one of another type."""
    with _called(asked, secret_type):
        secret = await asked.objects.get(Secret, asked.name)
    _require_type(asked, secret, secret_type)
    return secret


async def change_typed(asked: Asked, secret_type: SecretType, change: Callable[[Secret], None]) -> Secret:
    """Change the secret that the path names; raises BaetylError for one of another type."""

    def changed(secret: Secret) -> None:
        _require_type(asked, secret, secret_type)
        change(secret)

    with _called(asked, secret_type):
        return await asked.objects.change(Secret, asked.name, changed)


async def delete_typed(asked: Asked, secret_type: SecretType) -> Response:
    """Delete the secret that the path names; raises BaetylError for one of another type."""
    refuse_reserved(asked.name)
    await get_typed(asked, secret_type)
    with _called(asked, secret_type):
        await asked.objects.delete(Secret, asked.name)
    return success()


@contextmanager
def _called(asked: Asked, secret_type: SecretType) -> Iterator[None]:
    """Say what it would be that is not there: all types are secrets, and clients know them by other words."""
    try:
        yield
    except NotFound as error:
        raise errors.not_found(_SORTS[secret_type], asked.name) from error


def _require_type(asked: Asked, secret: Secret, secret_type: SecretType) -> None:
    if (secret.metadata.labels or {}).get(TYPE_LABEL) != secret_type:
        raise errors.not_found(_SORTS[secret_type], asked.name)


def secret_summary(secret: Secret) -> Document:
    """Write a secret as lists show it."""
    meta = secret.metadata
    return {
        "name": secret.name,
        "namespace": secret.namespace,
        "labels": meta.labels or {},
        "description": (meta.annotations or {}).get(DESCRIPTION_ANNOTATION, ""),
        "version": meta.resource_version,
        "createTime": meta.creation_timestamp,
        "updateTime": updated_at(meta),
    }


def _secret_view(secret: Secret) -> Document:
    return {**secret_summary(secret), "data": decoded(secret)}


def registry_view(secret: Secret) -> Document:
    """Write credentials of a registry, less the password."""
    data = decoded(secret)
    return {**secret_summary(secret), "address": data.get("address", ""), "username": data.get("username", "")}


SECRETS = Listing(Secret, secret_summary, f"{TYPE_LABEL}=config")
REGISTRIES = Listing(Secret, registry_view, f"{TYPE_LABEL}=registry")
