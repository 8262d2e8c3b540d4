"""The typed client: models in, models out.

    client = Client(transport)
    function = await client.get(EdgeFunction, "hello")
    await client.change_status(function, lambda f: ...)

Owns typing and the retry of read-modify-write. Does not own caching (informer.py), how lists are continued (paging.py)
or the wire (http.py).
"""

from collections.abc import AsyncIterator, Callable

from skerry.api.errors import Conflict, NotFound
from skerry.api.model import R, from_document, to_document
from skerry.api.registry import kind_of
from skerry.client.paging import pages
from skerry.client.transport import DeleteConditions, Target, Transport

#: How often a read-modify-write meets another writer before it gives up.
CONFLICT_TRIES_MAX = 10


class Client:
    """Reads and writes objects as their models; raises `ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def get(self, model: type[R], name: str, *, namespace: str = "") -> R:
        """Return one object; raises NotFound."""
        return from_document(model, await self.transport.get(Target(kind_of(model), namespace, name)))

    async def find(self, model: type[R], name: str, *, namespace: str = "") -> R | None:
        """Return one object, or None where there is none."""
        try:
            return await self.get(model, name, namespace=namespace)
        except NotFound:
            return None

    async def list(self, model: type[R], *, namespace: str = "", label_selector: str = "") -> AsyncIterator[R]:
        """Yield every object of a kind, page by page, all at one revision; see `pages`."""
        async for page in pages(self.transport, Target(kind_of(model), namespace), label_selector=label_selector):
            for item in page["items"]:
                yield from_document(model, item)

    async def create(self, obj: R) -> R:
        """Store a new object; raises AlreadyExists or Invalid."""
        kind = kind_of(type(obj))
        obj.api_version, obj.kind = kind.api_version, kind.kind
        return from_document(type(obj), await self.transport.create(Target(kind, obj.namespace), to_document(obj)))

    async def change(self, obj: R, mutate: Callable[[R], None]) -> R:
        """Read-modify-write: apply `mutate` to the object until no other writer comes between.

        Nothing is written where `mutate` changes nothing. Raises NotFound when the object is gone.
        """
        return await self._change(obj, mutate, subresource="")

    async def change_status(self, obj: R, mutate: Callable[[R], None]) -> R:
        """Do as `change`, for the status alone."""
        return await self._change(obj, mutate, subresource="status")

    async def _change(self, obj: R, mutate: Callable[[R], None], *, subresource: str) -> R:
        model = type(obj)
        target = Target(kind_of(model), obj.namespace, obj.name, subresource)
        current = obj
        for _ in range(CONFLICT_TRIES_MAX):
            changed = current.model_copy(deep=True)
            mutate(changed)
            if changed == current:
                return current
            try:
                return from_document(model, await self.transport.replace(target, to_document(changed)))
            except Conflict as conflict:
                last = conflict
                current = await self.get(model, obj.name, namespace=obj.namespace)
                if current.uid != obj.uid:
                    raise NotFound(f'{target.kind.resource} "{obj.name}" was replaced by another object') from conflict
        raise last

    async def delete(self, obj: R) -> None:
        """Ask for the deletion of this very object; one that is gone already is fine.

        Raises Conflict where another object has its name by now.
        """
        try:
            await self.transport.delete(
                Target(kind_of(type(obj)), obj.namespace, obj.name), DeleteConditions(uid=obj.uid)
            )
        except NotFound:
            return
