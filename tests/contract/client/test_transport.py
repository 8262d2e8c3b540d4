import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP, NAMESPACE, ConfigMap
from skerry.api.errors import AlreadyExists, ApiError, Conflict, Expired, Forbidden, Invalid, NotFound, Timeout
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.model import Document, ObjectMeta
from skerry.api.rbac_v1 import CLUSTER_ROLE
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.client.informers import Informers
from skerry.client.paging import PAGE_OBJECTS
from skerry.client.transport import DeleteConditions, Target, Transport, WatchBatch, WatchEvent
from skerry.kit.backoff import Backoff
from skerry.kit.deadlines import within
from skerry.kit.tasks import background

CONFIGS = Target(CONFIG_MAP, "default")


def config(name: str, **data: str) -> Document:
    return {"metadata": {"name": name}, "data": data}


def named(name: str) -> Target:
    return Target(CONFIG_MAP, "default", name)


async def test_what_was_created_can_be_read_replaced_patched_and_deleted(transport: Transport):
    created = await transport.create(CONFIGS, config("a", key="1"))
    assert await transport.get(named("a")) == created
    replaced = await transport.replace(named("a"), created | {"data": {"key": "2"}})
    assert replaced["data"] == {"key": "2"}
    patched = await transport.merge_patch(named("a"), {"data": {"key": None, "other": "3"}})
    assert patched["data"] == {"other": "3"}
    await transport.delete(named("a"))
    with pytest.raises(NotFound):
        await transport.get(named("a"))


async def test_without_a_name_nothing_of_a_collection_is_touched(transport: Transport):
    created = await transport.create(CONFIGS, config("a", key="1"))
    for touch in (
        transport.delete(CONFIGS),
        transport.replace(CONFIGS, created),
        transport.merge_patch(CONFIGS, {"data": {"key": "2"}}),
        transport.get(CONFIGS),
    ):
        with pytest.raises(ApiError):
            await touch
    assert await transport.get(named("a")) == created


async def test_names_are_taken_as_they_are(transport: Transport):
    for name in ("a", "a?x", "a b#c", "a;b=c,(d)"):
        document = {"metadata": {"name": name}, "rules": []}
        created = await transport.create(Target(CLUSTER_ROLE), document)
        assert await transport.get(Target(CLUSTER_ROLE, name=name)) == created
    await transport.delete(Target(CLUSTER_ROLE, name="a?x"))
    assert (await transport.get(Target(CLUSTER_ROLE, name="a")))["metadata"]["name"] == "a"
    with pytest.raises(NotFound):
        await transport.get(Target(CLUSTER_ROLE, name="a?x"))


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (NotFound, 404, "NotFound"),
        (AlreadyExists, 409, "AlreadyExists"),
        (Conflict, 409, "Conflict"),
        (Invalid, 422, "Invalid"),
    ],
)
async def test_refusals_are_the_same_errors(transport: Transport, error: type[ApiError], code: int, reason: str):
    created = await transport.create(CONFIGS, config("a"))
    await transport.replace(named("a"), created | {"data": {"key": "newer"}})
    acts: dict[type[ApiError], Any] = {
        NotFound: lambda: transport.get(named("absent")),
        AlreadyExists: lambda: transport.create(CONFIGS, config("a")),
        Conflict: lambda: transport.replace(named("a"), created | {"data": {"key": "stale"}}),
        Invalid: lambda: transport.create(CONFIGS, config("Not_A_Name")),
    }
    with pytest.raises(error) as raised:
        await acts[error]()
    status = raised.value.status()
    assert (status["code"], status["reason"]) == (code, reason)
    assert status["message"]


async def test_every_error_of_an_object_crosses_with_its_field(transport: Transport):
    with pytest.raises(Invalid) as raised:
        await transport.create(
            Target(EDGE_FUNCTION), {"metadata": {"name": "a"}, "spec": {"template": {"code": {}, "mode": "x"}}}
        )
    fields = {cause["field"] for cause in raised.value.details["causes"]}
    assert fields == {"spec.template.mode", "spec.template.code"}


async def test_a_delete_holds_to_its_conditions(transport: Transport):
    created = await transport.create(CONFIGS, config("a"))
    newer = await transport.replace(named("a"), created | {"data": {"key": "newer"}})
    uid, version = created["metadata"]["uid"], newer["metadata"]["resourceVersion"]
    for wrong in (
        DeleteConditions(uid="another"),
        DeleteConditions(resource_version=created["metadata"]["resourceVersion"]),
        DeleteConditions(uid="another", resource_version=version),
    ):
        with pytest.raises(Conflict, match="Precondition failed"):
            await transport.delete(named("a"), wrong)
    await transport.delete(named("a"), DeleteConditions(uid, version, "Foreground"))
    assert (await transport.get(named("a")))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await transport.delete(named("a"), DeleteConditions(uid, propagation="Background"))
    with pytest.raises(NotFound):
        await transport.get(named("a"))


async def test_an_object_is_deleted_but_not_another_of_its_name(transport: Transport):
    client = Client(transport)
    first = await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    await client.delete(first)
    await client.delete(first)
    second = await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    with pytest.raises(Conflict):
        await client.delete(first)
    assert (await client.get(ConfigMap, "a", namespace="default")).uid == second.uid


async def test_finalize_drops_what_holds_a_namespace(transport: Transport):
    place = Target(NAMESPACE, "", "team")
    await transport.create(Target(NAMESPACE), {"metadata": {"name": "team"}})
    await transport.delete(place)
    ending = await transport.get(place)
    assert ending["status"]["phase"] == "Terminating"
    ending["spec"]["finalizers"] = []
    await transport.replace(Target(NAMESPACE, "", "team", "finalize"), ending)
    with pytest.raises(NotFound):
        await transport.get(place)


async def test_informers_are_one_a_kind_and_run_together(transport: Transport):
    informers = Informers(Client(transport))
    configs = informers.of(ConfigMap)
    assert informers.of(ConfigMap) is configs
    async with informers.running():
        await configs.synced()
        assert informers.of(ConfigMap) is configs


async def test_the_informer_of_a_kind_that_comes_later_starts_at_once_and_ends_with_it(transport: Transport):
    informers = Informers(Client(transport))
    async with informers.running():
        namespaces = informers.partial_of(NAMESPACE)
        await namespaces.synced()
        assert namespaces.get("default") is not None
        informers.forget(NAMESPACE.resource)
        assert len(namespaces) == 0
        assert informers.partial_of(NAMESPACE) is not namespaces


async def test_pages_add_up_to_the_list(transport: Transport):
    names = [f"c{number:02}" for number in range(7)]
    for name in names:
        await transport.create(CONFIGS, config(name))
    found, token = [], ""
    while True:
        page = await transport.list(CONFIGS, label_selector="", limit=3, continue_token=token)
        found += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert found == names


async def test_labels_select(transport: Transport):
    for name, colour in (("a", "red"), ("b", "blue")):
        await transport.create(CONFIGS, {"metadata": {"name": name, "labels": {"colour": colour}}})
    page = await transport.list(CONFIGS, label_selector="colour in (blue, green)", limit=10, continue_token="")
    assert [item["metadata"]["name"] for item in page["items"]] == ["b"]


async def singly(batches: AsyncIterator[WatchBatch]) -> AsyncIterator[WatchEvent]:
    async for batch in batches:
        assert batch
        for event in batch:
            yield event


async def test_a_watch_tells_each_change_once_and_in_order(transport: Transport):
    start = (await transport.list(CONFIGS, label_selector="", limit=1, continue_token=""))["metadata"]
    created = await transport.create(CONFIGS, config("a"))
    async with transport.watch(CONFIGS, resource_version=start["resourceVersion"]) as events:
        await transport.replace(named("a"), created | {"data": {"key": "1"}})
        await transport.delete(named("a"))
        seen = []
        async with asyncio.timeout(60):
            async for event in singly(events):
                if event.type != "BOOKMARK":
                    seen.append((event.type, int(event.document["metadata"]["resourceVersion"])))
                if event.type == "DELETED":
                    break
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [version for _, version in seen]
    assert versions == sorted(set(versions))


async def test_a_watch_from_the_future_is_refused(transport: Transport):
    async def first() -> WatchEvent:
        async with transport.watch(CONFIGS, resource_version="999999") as events:
            return await anext(singly(events))

    with pytest.raises(Timeout, match="Too large resource version: 999999"):
        await first()


async def test_read_modify_write_loops_lose_nothing(transport: Transport):
    client = Client(transport)
    counter = await client.create(ConfigMap(metadata=ObjectMeta(name="counter", namespace="default"), data={"n": "0"}))

    def add_one(found: ConfigMap) -> None:
        assert found.data is not None
        found.data["n"] = str(int(found.data["n"]) + 1)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client.change(counter, add_one))
    assert (await client.get(ConfigMap, "counter", namespace="default")).data == {"n": "8"}


async def test_a_change_that_changes_nothing_writes_nothing(transport: Transport):
    client = Client(transport)
    before = await client.create(ConfigMap(metadata=ObjectMeta(name="still", namespace="default")))
    after = await client.change(before, lambda _: None)
    assert after.metadata.resource_version == before.metadata.resource_version


async def test_an_informer_follows_from_before_to_after(transport: Transport):
    client = Client(transport)
    for number in range(3):
        await transport.create(CONFIGS, config(f"old-{number}"))
    informer = Informer(client, ConfigMap)
    changed = asyncio.Event()
    informer.on_change(lambda _: changed.set())

    async def until(names: set[str]) -> None:
        async with asyncio.timeout(60):
            while {obj.name for obj in informer} != names:
                changed.clear()
                await changed.wait()

    async with background(("informer", informer.run)):
        await informer.synced()
        await until({"old-0", "old-1", "old-2"})
        await transport.create(CONFIGS, config("new"))
        await transport.delete(named("old-1"))
        await until({"old-0", "old-2", "new"})


async def test_what_an_informer_holds_lacks_managed_fields_and_can_be_written_back_without_losing_them(
    transport: Transport,
):
    client = Client(transport)
    created = await transport.create(CONFIGS, config("a", key="1"))
    informer = Informer(client, ConfigMap)
    async with background(("informer", informer.run)):
        await informer.synced()
        held = informer.get("a", "default")
        assert held is not None
        assert held.metadata.managed_fields is None
        await client.change(held, lambda obj: setattr(obj, "data", {"key": "2"}))
    changed = await transport.get(named("a"))
    assert changed["data"] == {"key": "2"}
    before = created["metadata"]["managedFields"]
    assert (
        [each["manager"] for each in changed["metadata"]["managedFields"]] == [each["manager"] for each in before] != []
    )


async def test_an_informer_of_metadata_holds_what_owns_and_ends_an_object_and_nothing_of_its_body(
    transport: Transport,
):
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u"}
    owned = config("owned", key="value")
    owned["metadata"] |= {"ownerReferences": [owner], "finalizers": ["example.com/f"], "labels": {"l": "x"}}
    created = await transport.create(CONFIGS, owned)
    informer = Informers(Client(transport)).partial_of(CONFIG_MAP)
    changed = asyncio.Event()
    informer.on_change(lambda _: changed.set())
    async with background(("informer", informer.run)):
        await informer.synced()
        (listed,) = informer
        assert (listed.name, listed.namespace, listed.metadata.uid) == ("owned", "default", created["metadata"]["uid"])
        assert [reference.uid for reference in listed.metadata.owner_references] == ["u"]
        assert (listed.metadata.finalizers, listed.metadata.deletion_timestamp) == (("example.com/f",), None)
        changed.clear()
        await transport.delete(named("owned"))
        async with asyncio.timeout(60):
            await changed.wait()
        watched = informer.get("owned", "default")
        assert watched
        assert watched.metadata.deletion_timestamp


async def test_metadata_alone_is_listed_and_watched(transport: Transport):
    await transport.create(CONFIGS, config("a", key="value"))
    place = Target(CONFIG_MAP, "default", metadata_only=True)
    page = await transport.list(place, label_selector="", limit=10, continue_token="")
    (item,) = page["items"]
    assert item["metadata"]["name"] == "a"
    async with transport.watch(place, resource_version=page["metadata"]["resourceVersion"]) as events:
        await transport.create(CONFIGS, config("b", key="value"))
        seen = await anext(event async for event in singly(events) if event.type != "BOOKMARK")
    assert seen.document["metadata"]["name"] == "b"
    assert not {"data"} & (item.keys() | seen.document.keys())


class Expiring:
    """The transport of another, whose first watches are refused: one, for its history is gone, where not told else."""

    def __init__(self, transport: Transport, *refusals: ApiError) -> None:
        self._transport = transport
        self._refusals = list(refusals) or [Expired("too old resource version")]
        self.lists = 0
        self.watches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def list(self, target: Target, **options: Any) -> Document:
        self.lists += 1
        assert options["limit"] == PAGE_OBJECTS
        return await self._transport.list(target, **options)

    def watch(self, target: Target, *, resource_version: str) -> Any:
        self.watches += 1
        if self._refusals:
            raise self._refusals.pop(0)
        return self._transport.watch(target, resource_version=resource_version)


async def test_an_informer_lists_again_when_its_history_is_gone(transport: Transport):
    expiring = Expiring(transport)
    informer = Informer(Client(expiring), ConfigMap)
    seen = asyncio.Event()
    informer.on_change(lambda _: seen.set())
    async with background(("informer", informer.run)):
        await informer.synced()
        await transport.create(CONFIGS, config("a"))
        async with asyncio.timeout(60):
            await seen.wait()
    assert expiring.lists == 2


@pytest.mark.parametrize("refusal", [Expired("too old resource version"), Forbidden("watch is not allowed")])
async def test_an_informer_whose_watches_are_refused_lists_less_and_less_often(
    transport: Transport, refusal: ApiError, monkeypatch: pytest.MonkeyPatch
):
    waits: list[float] = []

    def told(backoff: Backoff) -> float:
        waits.append(next_seconds(backoff))
        return 0.0

    next_seconds = Backoff.next_seconds
    monkeypatch.setattr(Backoff, "next_seconds", told)
    informer = Informer(Client(Expiring(transport, *[refusal] * 6)), ConfigMap)
    seen = asyncio.Event()
    informer.on_change(lambda _: seen.set())
    async with background(("informer", informer.run)):
        await informer.synced()
        await transport.create(CONFIGS, config("a"))
        with within(60):
            await seen.wait()
            while len(waits) < 6:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
    assert waits[5] > 4 * waits[0]


async def test_a_listener_that_fails_of_one_object_is_told_of_the_others_as_all_others_are(transport: Transport):
    informer = Informer(Client(transport), ConfigMap)
    told, others = list[str](), asyncio.Queue[str]()

    def fail(key: tuple[str, str]) -> None:
        told.append(key[1])
        if key[1] == "a":
            raise ValueError("it can't be read")

    informer.on_change(fail)
    informer.on_change(lambda key: others.put_nowait(key[1]))
    for name in ("a", "b"):
        await transport.create(CONFIGS, config(name))
    async with background(("informer", informer.run)):
        assert {await others.get(), await others.get()} >= {"a", "b"}
        await transport.create(CONFIGS, config("c"))
        assert await others.get() == "c"
    assert {"a", "b", "c"} <= set(told)
