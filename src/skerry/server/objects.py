"""The verbs, as the handlers of doors beside Kubernetes' call them: models in, models out, in one namespace.

Owns typing and paging, for one request. Does not own who may: the door asks first.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from skerry.api.dispatch_services import ServiceInstance
from skerry.api.model import Document, R, from_document, to_document
from skerry.api.registry import kind_of
from skerry.server.access import Access, Act, require
from skerry.server.auth import User
from skerry.server.readings import Readings
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.patches.model_patch import ModelPatch
from skerry.server.verbs.patches.patch import Patch
from skerry.server.verbs.requests import DeleteOptions, ListOptions, Target, WriteOptions
from skerry.server.verbs.verbs import Verbs

_PAGE_OBJECTS = 500
#: Objects whose models are at hand.
MODELS_REMEMBERED = 1024


class Objects(NamedTuple):
    """The objects of a namespace.

    Attributes:
        verbs: what is done with them.
        access: who may.
        namespace: which one.
        user: for whom.
        models: what was read for requests before.
        manager: who writes, for managedFields.
    """

    verbs: Verbs
    access: Access
    namespace: str
    user: User
    models: Readings[Any]
    manager: str

    def _target(self, model: type[R], name: str = "") -> Target:
        return Target(kind_of(model), self.namespace, name)

    @property
    def _options(self) -> WriteOptions:
        return WriteOptions(field_validation="Strict", manager=self.manager, user=self.user)

    def require_secrets(self, names: Iterable[str]) -> None:
        """Refuse, with Denied, a caller who names secrets that they may not read."""
        for name in names:
            require(self.access, self.user, Act("get", "", "secrets", namespace=self.namespace, name=name))

    def require_services(self, names: Iterable[str]) -> None:
        """Refuse, with Denied, a caller who names service instances that they may not change: code gets credentials."""
        kind = kind_of(ServiceInstance)
        for name in names:
            require(self.access, self.user, Act("update", kind.group, kind.plural, namespace=self.namespace, name=name))

    async def get(self, model: type[R], name: str) -> R:
        """Return an object; raises NotFound."""
        return from_document(model, (await self.verbs.get(self._target(model, name))).document)

    async def get_shared(self, model: type[R], name: str) -> R:
        """Return an object that is not to be changed; raises NotFound."""
        target = self._target(model, name)
        return cast("R", self.models.of(target, await self.verbs.get(target), partial(from_document, model)))

    async def list(self, model: type[R]) -> AsyncIterator[R]:
        """Yield all objects of a kind, by name."""
        token = ""
        while True:
            page = await self.verbs.list(self._target(model), ListOptions(limit=_PAGE_OBJECTS, continue_token=token))
            for item in page.items:
                yield from_document(model, item.document)
            token = page.continue_token
            if not token:
                return

    async def page(self, model: type[R], options: ListOptions) -> tuple[Sequence[R], str]:
        """Return the selected objects of a kind, or some of them and the token that continues; see `Verbs.list`."""
        listed = await self.verbs.list(self._target(model), options)
        return [from_document(model, item.document) for item in listed.items], listed.continue_token

    async def create(self, obj: R) -> R:
        """Store a new object; raises AlreadyExists, Invalid, and NotFound where there is no such namespace."""
        kind = kind_of(type(obj))
        obj.api_version, obj.kind = kind.api_version, kind.kind
        written = await self.verbs.create(self._target(type(obj)), to_document(obj), self._options)
        return from_document(type(obj), written.object.document)

    async def change(self, model: type[R], name: str, mutate: Callable[[R], None]) -> R:
        """Change an object, again where another writer was quicker; raises NotFound, Conflict, Invalid."""
        return await self._patch(model, name, ModelPatch(mutate))

    async def patch(self, model: type[R], name: str, patch: Document) -> R:
        """Change a part of an object; raises NotFound, Invalid."""
        return await self._patch(model, name, MergePatch(patch))

    async def _patch(self, model: type[R], name: str, patch: Patch) -> R:
        written = await self.verbs.patch(self._target(model, name), patch, self._options)
        return from_document(model, written.object.document)

    async def delete(self, model: type[R], name: str) -> R:
        """Ask for an object's end; return its last state. Raises NotFound."""
        deleted = await self.verbs.delete(self._target(model, name), DeleteOptions())
        return from_document(model, deleted.object.document)
