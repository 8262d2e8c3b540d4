"""Configurations: files for applications, as text or as objects that nodes fetch from elsewhere."""

from typing import Any

from pydantic import Field

from skerry.api.baetyl_configurations import CONFIGURATION, Configuration, ConfigurationObject
from skerry.api.baetyl_v1alpha1 import is_system
from skerry.api.decoding import decode
from skerry.api.errors import AlreadyExists
from skerry.api.model import Document, to_document
from skerry.server.baetyl import errors
from skerry.server.baetyl.bodies import Body, Texts, refuse_reserved, updated_at
from skerry.server.baetyl.door import Asked, Described, Operation, success
from skerry.server.baetyl.listing import LIST_QUERY, Listing, listed
from skerry.server.baetyl.usage import Usage
from skerry.server.http import Response
from skerry.server.operations import json

_COLLECTION = "/v1/configs"
_ITEM = "/v1/configs/{name}"
_OBJECT_TYPES = ("object", "function")
_OBJECT_FIELDS = {info.alias or name for name, info in ConfigurationObject.model_fields.items()}
#: Keys of storages: taken, and never given back.
_WITHHELD = ("ak", "sk")


class ConfigItem(Body):
    """A file: its name, and what it is, by `type`."""

    key: str
    value: dict[str, Any] = Field(default_factory=dict)


class ConfigurationBody(Body):
    """A configuration as it is created or replaced."""

    name: str = ""
    labels: Texts = None
    description: str = ""
    data: list[ConfigItem] = Field(default_factory=list)


class Configurations:
    """The handlers of configurations.

    Args:
        usage: tells which applications mount them.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        one, body = Described("Configuration"), Described("Configuration", ConfigurationBody)
        many = Described("ConfigurationList", query=LIST_QUERY)
        return [
            Operation("POST", _COLLECTION, "create", CONFIGURATION, self.create, body),
            Operation("GET", _COLLECTION, "list", CONFIGURATION, self.list, many),
            Operation("GET", _ITEM, "get", CONFIGURATION, self.get, one),
            Operation("PUT", _ITEM, "update", CONFIGURATION, self.replace, body),
            Operation("DELETE", _ITEM, "delete", CONFIGURATION, self.delete),
            Operation("GET", f"{_ITEM}/apps", "get", CONFIGURATION, self.apps, Described("ApplicationList")),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create a configuration."""
        body = await asked.body(ConfigurationBody)
        refuse_reserved(body.name)
        config = _read(body, body.name)
        try:
            return json(configuration_view(await asked.objects.create(config)))
        except AlreadyExists as error:
            raise errors.invalid("this name is already in use") from error

    async def list(self, asked: Asked) -> Response:
        """List configurations, without what is in them."""
        return json(await listed(asked, CONFIGURATIONS))

    async def get(self, asked: Asked) -> Response:
        """Get a configuration."""
        return json(configuration_view(await asked.objects.get(Configuration, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace what is in a configuration; a change reaches the applications that mount it."""
        new = _read(await asked.body(ConfigurationBody), asked.name)

        def change(config: Configuration) -> None:
            if is_system(config) and new.metadata.labels != config.metadata.labels:
                raise errors.invalid("the labels of a system configuration can't be changed")
            config.metadata.labels = new.metadata.labels
            config.description, config.data, config.objects = new.description, new.data, new.objects

        return json(configuration_view(await asked.objects.change(Configuration, asked.name, change)))

    async def delete(self, asked: Asked) -> Response:
        """Delete a configuration that no application mounts."""
        refuse_reserved(asked.name)
        await asked.objects.delete(Configuration, asked.name)
        return success()

    async def apps(self, asked: Asked) -> Response:
        """List the applications that mount a configuration."""
        await asked.objects.get(Configuration, asked.name)
        return json(await self._usage.listed(asked, "configuration"))


def _read(body: ConfigurationBody, name: str) -> Configuration:
    """Read a body; raises BaetylError, and Invalid with the path of every member of a wrong type."""
    data: Document = {}
    objects: Document = {}
    for item in body.data:
        kind = item.value.get("type")
        for held in (data, objects):
            held.pop(item.key, None)  # of the same key, the last one counts
        if kind == "kv":
            data[item.key] = item.value.get("value", "")
        elif kind in _OBJECT_TYPES:
            objects[item.key] = {field: value for field, value in item.value.items() if field in _OBJECT_FIELDS}
    metadata = {"name": name, "labels": body.labels}
    document = {"metadata": metadata, "description": body.description, "data": data or None, "objects": objects or None}
    return decode(CONFIGURATION, document).object


def configuration_summary(config: Configuration) -> Document:
    """Write a configuration as lists show it."""
    return {
        "name": config.name,
        "namespace": config.namespace,
        "labels": config.metadata.labels or {},
        "description": config.description,
        "version": config.metadata.resource_version,
        "createTime": config.metadata.creation_timestamp,
        "updateTime": updated_at(config.metadata),
    }


def configuration_view(config: Configuration) -> Document:
    """Write a configuration, less the keys of storages."""
    texts = [{"key": key, "value": {"type": "kv", "value": text}} for key, text in (config.data or {}).items()]
    objects = [
        {"key": key, "value": {name: value for name, value in to_document(item).items() if name not in _WITHHELD}}
        for key, item in (config.objects or {}).items()
    ]
    return {**configuration_summary(config), "data": [*texts, *objects]}


CONFIGURATIONS = Listing(Configuration, configuration_summary)
