"""The verbs over each driver of the log."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP, NAMESPACE, SECRET
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.registry import KINDS
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.verbs.requests import DeleteOptions, ListOptions, Target, WatchOptions, WriteOptions, Written
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import RevisionLog, open_log
from skerry.store.memory import open_memory
from skerry.store.sqlite import SqliteSettings, open_sqlite


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RevisionLog]:
    async with AsyncExitStack() as stack:
        opened: Any = (
            open_memory()
            if request.param == "memory"
            else open_sqlite(tmp_path / "log.db", SqliteSettings(sole_writer=True))
        )
        driver = await stack.enter_async_context(opened)
        yield await stack.enter_async_context(open_log(driver))


class Client:
    """Short spellings of the verbs, for tests."""

    def __init__(self, verbs: Verbs, log: RevisionLog) -> None:
        self.verbs = verbs
        self.log = log

    @staticmethod
    def config(name: str = "", **meta: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, **meta}} if name else {"metadata": meta}

    @staticmethod
    def function(name: str = "f", **meta: Any) -> dict[str, Any]:
        files = [{"path": "index.js", "content": "export default {}"}]
        code = {"jsSource": {"entrypoint": "index.js", "assets": {"files": files}}}
        return {"metadata": {"name": name, **meta}, "spec": {"template": {"mode": "backend", "code": code}}}

    configs = Target(CONFIG_MAP, "default")
    secrets = Target(SECRET, "default")
    functions = Target(EDGE_FUNCTION)
    namespaces = Target(NAMESPACE)

    @staticmethod
    def one(collection: Target, name: str, subresource: Any = "") -> Target:
        return Target(collection.kind, collection.namespace, name, subresource)

    async def create(self, collection: Target, document: dict[str, Any], **options: Any) -> Written:
        return await self.verbs.create(collection, document, WriteOptions(**options))

    async def get(self, collection: Target, name: str) -> Stored:
        return await self.verbs.get(self.one(collection, name))

    async def names(self, collection: Target, **options: Any) -> list[str]:
        listed = await self.verbs.list(collection, ListOptions(**options))
        return [item.metadata["name"] for item in listed.items]

    async def delete(self, collection: Target, name: str, **options: Any) -> Any:
        return await self.verbs.delete(self.one(collection, name), DeleteOptions(**options))

    def watch(self, collection: Target, **options: Any) -> Any:
        return self.verbs.watch(collection, WatchOptions(**options))


@pytest.fixture
async def client(log: RevisionLog) -> Client:
    verbs = Verbs(log, KINDS, SystemClock(), RandomIds())
    await verbs.bootstrap()
    return Client(verbs, log)
