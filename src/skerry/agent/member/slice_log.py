"""The replica of this node's slice of the log, on its disk, as a `client.transport.Transport`: listed and watched.

    slice.json    {"objects": {"<resource>/<namespace>/<name>": {"version": "...", "object": {...}}}, "statuses": {...}}

What watches it is what watches the log of the control plane; it goes on, and starts again, without that. Statuses can
be written: they are what this node makes of the objects, and are told to the control plane as such (`statuses`).

Owns the file. Invariant: the replica moves from one whole slice to the next, and is on disk before anybody sees it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import orjson

from skerry.api.errors import Conflict, Expired, Forbidden, NotFound
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.gateway_http_route_v1 import HTTP_ROUTE
from skerry.api.gateway_v1 import GATEWAY, GATEWAY_CLASS
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN
from skerry.api.istio_request_authentication_v1 import REQUEST_AUTHENTICATION
from skerry.api.model import Document
from skerry.client.transport import ANY_STATE, DeleteConditions, Target, WatchBatch, WatchEvent
from skerry.kit.errors import StartError
from skerry.kit.files import write_private
from skerry.kit.tasks import run_blocking

#: What stays of a status that this node wrote, where the control plane decides the rest of it; elsewhere all does.
_STAYING: Mapping[str, tuple[str, ...]] = {
    EDGE_FUNCTION.resource: ("servingRevision",),
    WASM_PLUGIN.resource: ("gateways",),
}
#: What a node makes something of.
_TOLD = frozenset(
    kind.resource
    for kind in (
        GATEWAY_CLASS,
        GATEWAY,
        HTTP_ROUTE,
        EDGE_FUNCTION,
        WASM_PLUGIN,
        REQUEST_AUTHENTICATION,
        AUTHORIZATION_POLICY,
    )
)

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object as the control plane showed it.

    Attributes:
        version: as the control plane names this state of it.
        document: the object.
    """

    version: str
    document: Document


class SliceLog:
    """The replica.

    Args:
        path: of its file; its folder must exist.
        executor: for the file.

    Raises:
        StartError: the file can't be read.
    """

    def __init__(self, path: Path, executor: Executor) -> None:
        self._path = path
        self._executor = executor
        self._held, self._statuses = _read(path)
        self._revision = 1
        self._shown: dict[str, dict[Key, Document]] = {}
        self._changed_at: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._writing = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._show(self._held)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` at every change, of statuses too; it must not block."""
        self._listeners.append(listener)

    def known(self) -> dict[str, str]:
        """Return the versions of the objects that are here, by key."""
        return {key: held.version for key, held in self._held.items()}

    def __len__(self) -> int:
        """Return how many objects are here."""
        return len(self._held)

    def statuses(self) -> Document:
        """Return what this node makes of the objects that it has, by key."""
        return {key: status for key, status in self._statuses.items() if status and key.partition("/")[0] in _TOLD}

    async def take(self, changed: Mapping[str, Held], gone: Collection[str] = ()) -> None:
        """Move to the next slice; it is on disk when this returns. Raises OSError, and then nothing has changed."""
        async with self._writing:
            await self._take(changed, gone)

    async def _take(self, changed: Mapping[str, Held], gone: Collection[str]) -> None:
        held = {key: each for key, each in {**self._held, **changed}.items() if key not in gone}
        statuses = {key: status for key, status in self._statuses.items() if key in held}
        for key, each in changed.items():
            own, staying = statuses.get(key, {}), _STAYING.get(key.partition("/")[0])
            kept = {name: value for name, value in own.items() if staying is None or name in staying}
            statuses[key] = kept | each.document.get("status", {})
        await self._write(held, statuses)
        # What was written to others meanwhile stays.
        self._held, self._statuses = (
            held,
            {key: self._statuses.get(key, {}) for key in held} | {key: statuses[key] for key in changed},
        )
        self._show([*changed, *gone])

    async def keep(self) -> None:
        """Have the present statuses on disk, so that a restart begins with them. Raises OSError."""
        async with self._writing:  # who waits for a slice to be written then writes that one, not the one before
            await self._write(self._held, self._statuses)

    async def _write(self, held: Mapping[str, Held], statuses: Mapping[str, Document]) -> None:
        objects = {key: {"version": each.version, "object": each.document} for key, each in held.items()}
        content = orjson.dumps({"objects": objects, "statuses": statuses})
        await run_blocking(self._executor, partial(write_private, self._path, content))

    def _show(self, keys: Collection[str]) -> None:
        """Have objects seen as they are now, as one revision; what was handed out before stays as it was."""
        self._revision += 1
        for resource in {key.partition("/")[0] for key in keys}:
            self._shown[resource] = dict(self._shown.get(resource, {}))
            self._changed_at[resource] = self._revision
        for key in keys:
            resource, namespace, name = key.split("/", 2)
            if key in self._held:
                self._shown[resource][namespace, name] = self._composed(key)
            else:
                self._shown[resource].pop((namespace, name), None)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for listener in self._listeners:
            listener()

    def _composed(self, key: str) -> Document:
        document = self._held[key].document
        metadata = {**document["metadata"], "resourceVersion": str(self._revision)}
        status = self._statuses[key]
        return {**document, "metadata": metadata} | ({"status": status} if status else {})

    async def get(self, target: Target) -> Document:
        """Return one object."""
        found = self._shown.get(target.kind.resource, {}).get((target.namespace, target.name))
        if found is None:
            raise NotFound(f'{target.kind.resource} "{target.name}" is not in the slice of this node')
        return found

    async def list(self, target: Target, *, label_selector: str, limit: int, continue_token: str) -> Document:  # noqa: ARG002 - all in one page
        """Return all objects of a kind; nodes select none of them."""
        if label_selector or target.field_selector or target.namespace:
            _refuse("a part of a kind")
        revision = str(self._revision)
        return {
            "metadata": {"resourceVersion": revision},
            "items": [*self._shown.get(target.kind.resource, {}).values()],
        }

    @asynccontextmanager
    async def watch(self, target: Target, *, resource_version: str) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """Watch a kind from a resource version on, which must be one since its last change."""
        resource = target.kind.resource
        if int(resource_version or 0) < self._changed_at.get(resource, 0):
            raise Expired(f"{resource} have changed since revision {resource_version}")
        async with aclosing(self._batches(resource, self._shown.get(resource, {}))) as batches:
            yield batches

    async def _batches(self, resource: str, seen: dict[Key, Document]) -> AsyncGenerator[WatchBatch, None]:
        while True:
            moved, revision, now = self._moved, self._revision, self._shown.get(resource, {})
            gone = [_deleted(seen[key], revision) for key in seen.keys() - now.keys()]
            fresh = [_put(document, key in seen) for key, document in now.items() if seen.get(key) is not document]
            seen = now
            if batch := [*gone, *fresh]:
                yield batch
            else:
                await moved.wait()

    async def replace(self, target: Target, document: Document) -> Document:
        """Write the status of an object, which is this node's own."""
        if target.subresource != "status":
            _refuse("anything but a status")
        present = await self.get(target)
        if document["metadata"].get("resourceVersion") != present["metadata"]["resourceVersion"]:
            raise Conflict(f'{target.kind.resource} "{target.name}" has changed meanwhile')
        key = f"{target.kind.resource}/{target.namespace}/{target.name}"
        self._statuses[key] = document.get("status", {})
        self._show([key])
        return await self.get(Target(target.kind, target.namespace, target.name))

    async def create(self, target: Target, document: Document) -> Document:  # noqa: ARG002 - as every transport
        """Refuse: the control plane alone makes objects."""
        _refuse("new objects")

    async def merge_patch(self, target: Target, patch: Document) -> Document:  # noqa: ARG002 - as every transport
        """Refuse: statuses are written whole."""
        _refuse("a part of an object")

    async def delete(self, target: Target, conditions: DeleteConditions = ANY_STATE) -> None:  # noqa: ARG002 - likewise
        """Refuse: the control plane alone removes objects."""
        _refuse("a deletion")


def _refuse(what: str) -> NoReturn:
    raise Forbidden(f"the replica of a node does not take {what}")


def _deleted(document: Document, revision: int) -> WatchEvent:
    return WatchEvent("DELETED", {**document, "metadata": {**document["metadata"], "resourceVersion": str(revision)}})


def _put(document: Document, is_known: bool) -> WatchEvent:  # noqa: FBT001 - of one name
    return WatchEvent("MODIFIED" if is_known else "ADDED", document)


def _read(path: Path) -> tuple[dict[str, Held], dict[str, Document]]:
    try:
        found: Any = orjson.loads(path.read_bytes())
        held = {key: Held(each["version"], each["object"]) for key, each in found["objects"].items()}
        return held, {key: found["statuses"].get(key, {}) for key in held}
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartError(f"{path} can't be read: remove it to take everything from the control plane") from error
