"""A kind with every sort of field, and short spellings of writes to it."""

from typing import Annotated, Any

import pytest

from skerry.api.kinds import Kind
from skerry.api.model import LIST_SET, Document, FreeForm, Model, Resource, list_map
from skerry.server.verbs.apply import managers
from skerry.server.verbs.apply.managers import Manager, Owners, Write
from skerry.server.verbs.apply.schema import struct


class Port(Model):
    """An item of a list that is a map."""

    name: str
    port: int | None = None
    options: dict[str, str] | None = None


class Inner(Model):
    """A struct in a struct."""

    x: str | None = None
    y: str | None = None


class Spec(Model):
    """Every sort of field."""

    code: str | None = None
    inner: Inner | None = None
    ports: Annotated[list[Port] | None, list_map("name")] = None
    tags: Annotated[list[str] | None, LIST_SET] = None
    words: list[str] | None = None
    labels: dict[str, str] | None = None
    free: FreeForm | None = None


class Status(Model):
    """What a controller tells."""

    phase: str | None = None


class Thing(Resource):
    """The kind."""

    spec: Spec | None = None
    status: Status | None = None


THING = Kind(group="example.org", version="v1", model=Thing, plural="things", namespaced=False)


class World:
    """One object, and those who write it."""

    shape = struct(Thing)

    def __init__(self) -> None:
        self.live: Document | None = None
        self.owners: Owners = {}
        self.minute = 0

    def write(self, name: str, operation: Any, subresource: Any = "") -> Write:
        self.minute += 1
        return Write(THING, Manager(operation, name, subresource), f"2026-01-01T00:{self.minute:02}:00Z")

    def apply(self, name: str, spec: Any, *, force: bool = False) -> None:
        config = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}
        write = self.write(name, "Apply")
        self.live, self.owners = managers.apply(self.owners, write, self.live, config, force=force)

    def update(self, name: str, spec: Any) -> None:
        new = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}
        self.owners = managers.updated(self.owners, self.write(name, "Update"), self.live, new)
        self.live = new

    @property
    def spec(self) -> Any:
        assert self.live is not None
        return self.live.get("spec")

    def owned(self, name: str) -> Any:
        """Return what a name owns in the spec, however it writes; None where it owns nothing."""
        found = [owned.fields for manager, owned in self.owners.items() if manager.name == name]
        return found[0].get("f:spec") if found else None


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    """For tests that need one world for each example."""
    return World
