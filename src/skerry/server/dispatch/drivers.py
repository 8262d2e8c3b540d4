"""Event drivers and their types."""

from typing import Any

from pydantic import Field

from skerry.api.dispatch_drivers import (
    CRON,
    EVENT_DRIVER,
    EVENT_DRIVER_TYPE,
    Config,
    EventDriver,
    EventDriverSpec,
    EventDriverType,
    EventDriverTypeSpec,
)
from skerry.api.dispatch_v1 import DELETING, UPDATING
from skerry.api.errors import AlreadyExists, BadRequest
from skerry.api.model import Document, ObjectMeta
from skerry.server.dispatch.bodies import Body, TagBody, seconds_of, spec_of, tags_document, tags_json
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.dispatch.selecting import has_application, wanted_applications
from skerry.server.http import Response
from skerry.server.operations import json

_DRIVERS = "/v1/event/drivers"
_TYPES = "/v1/event/drivertypes"
#: How the type is shown that needs no program.
_CRON_TYPE: Document = {"kind": "DriverType", "name": CRON, "built-in": True, "command": None, "config": None}


class DriverBody(Body):
    """A driver as it is created or replaced."""

    name: str
    type: str
    config: list[dict[str, Any]] | None = None
    secrets: list[str] | None = None
    tags: list[TagBody] | None = None


class DriverTypeBody(Body):
    """A type as it is created; `command` is Skerry's own, where Dispatch has an image."""

    name: str
    image: str = ""
    command: list[str] = Field(default_factory=list)
    config: list[dict[str, Any]] | None = None


class Drivers:
    """The handlers of drivers and types."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("POST", _DRIVERS, "create", EVENT_DRIVER, self.create),
            Operation("GET", _DRIVERS, "list", EVENT_DRIVER, self.list),
            Operation("GET", f"{_DRIVERS}/{{name}}", "get", EVENT_DRIVER, self.get),
            Operation("PUT", f"{_DRIVERS}/{{name}}", "update", EVENT_DRIVER, self.replace),
            Operation("DELETE", f"{_DRIVERS}/{{name}}", "delete", EVENT_DRIVER, self.delete),
            Operation("POST", _TYPES, "create", EVENT_DRIVER_TYPE, self.create_type),
            Operation("GET", _TYPES, "list", EVENT_DRIVER_TYPE, self.list_types),
            Operation("GET", f"{_TYPES}/{{name}}", "get", EVENT_DRIVER_TYPE, self.get_type),
            Operation("DELETE", f"{_TYPES}/{{name}}", "delete", EVENT_DRIVER_TYPE, self.delete_type),
        ]

    async def create(self, asked: Asked) -> Response:
        """Make a driver; it is started afterwards."""
        body = await asked.body(DriverBody)
        driver = EventDriver(metadata=ObjectMeta(name=body.name), spec=_spec(body))
        try:
            return json(_json(await asked.objects.create(driver)), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"driver {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List drivers."""
        wanted = wanted_applications(asked.query_list("tags"))
        found = [d async for d in asked.objects.list(EventDriver) if has_application(d.spec.tags, wanted)]
        return json([_json(driver) for driver in found])

    async def get(self, asked: Asked) -> Response:
        """Return a driver."""
        return json(_json(await asked.objects.get(EventDriver, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace a driver; its program is started again."""
        body = await asked.body(DriverBody)

        def change(driver: EventDriver) -> None:
            driver.spec = _spec(body)

        return json(_json(await asked.objects.change(EventDriver, asked.name, change)) | {"status": UPDATING})

    async def delete(self, asked: Asked) -> Response:
        """End a driver."""
        return json(_json(await asked.objects.delete(EventDriver, asked.name)) | {"status": DELETING})

    async def create_type(self, asked: Asked) -> Response:
        """Make a type: it names a program of this machine."""
        body = await asked.body(DriverTypeBody)
        if body.image:
            raise BadRequest("image: drivers are programs of this machine; give their command, a list, instead")
        spec = spec_of(EventDriverTypeSpec, {"command": body.command, "config": body.config})
        kind = EventDriverType(metadata=ObjectMeta(name=body.name), spec=spec)
        try:
            return json(_type_json(await asked.objects.create(kind)), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"driver type {body.name} already exists") from error

    async def list_types(self, asked: Asked) -> Response:
        """List types, also the one that is built in."""
        wanted_applications(asked.query_list("tags"))
        return json([_CRON_TYPE, *[_type_json(kind) async for kind in asked.objects.list(EventDriverType)]])

    async def get_type(self, asked: Asked) -> Response:
        """Return a type."""
        name = asked.name
        return json(_CRON_TYPE if name == CRON else _type_json(await asked.objects.get(EventDriverType, name)))

    async def delete_type(self, asked: Asked) -> Response:
        """Delete a type; its drivers end."""
        return json(_type_json(await asked.objects.delete(EventDriverType, asked.name)))


def _spec(body: DriverBody) -> EventDriverSpec:
    document: Document = {
        "type": body.type,
        "config": body.config,
        "secrets": body.secrets,
        "tags": tags_document(body.tags),
    }
    return spec_of(EventDriverSpec, document)


def _config_json(config: list[Config] | None) -> list[Document] | None:
    return [each.model_dump() for each in config] if config else None


def _json(driver: EventDriver) -> Document:
    spec, status = driver.spec, driver.status
    return {
        "kind": "Driver",
        "id": driver.uid,
        "name": driver.name,
        "type": spec.type,
        "config": _config_json(spec.config),
        "secrets": spec.secrets,
        "tags": tags_json(spec.tags),
        "expose": False,
        "restarts": status.restarts,
        "reason": status.reason,
        "status": DELETING if driver.metadata.deletion_timestamp else status.state,
        "created-time": seconds_of(driver.metadata.creation_timestamp),
    }


def _type_json(kind: EventDriverType) -> Document:
    return {
        "kind": "DriverType",
        "id": kind.uid,
        "name": kind.name,
        "built-in": False,
        "command": kind.spec.command,
        "config": _config_json(kind.spec.config),
        "created-time": seconds_of(kind.metadata.creation_timestamp),
    }
