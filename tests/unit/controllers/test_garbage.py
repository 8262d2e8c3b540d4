import asyncio
from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP, ConfigMap, Namespace, Secret
from skerry.api.errors import NotFound
from skerry.api.model import Document, ObjectMeta, OwnerReference
from skerry.api.registry import kind_of
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.client.transport import ANY_STATE, DeleteConditions, Propagation, Target, Transport
from skerry.controllers.garbage import GarbageCollector
from skerry.controllers.kind_caches import KindCaches
from skerry.controllers.ownership import Ref
from skerry.testing.control_plane import STATE_SECONDS_MAX, Collectors, catalogue_of, collecting

HOLD = "example.com/hold"


def owned_by(*owners: Any, blocks: bool | None = None) -> list[OwnerReference]:
    return [
        OwnerReference(
            api_version=owner.api_version,
            kind=owner.kind,
            name=owner.name,
            uid=owner.uid,
            block_owner_deletion=blocks,
        )
        for owner in owners
    ]


def config(name: str, *owners: Any, blocks: bool | None = None, finalizers: list[str] | None = None) -> ConfigMap:
    references = owned_by(*owners, blocks=blocks) or None
    metadata = ObjectMeta(name=name, namespace="default", owner_references=references, finalizers=finalizers)
    return ConfigMap(metadata=metadata)


def absent(name: str, *, uid: str = "never", api_version: str = "v1", kind: str = "ConfigMap") -> ConfigMap:
    """An owner that was never stored."""
    return ConfigMap(api_version=api_version, kind=kind, metadata=ObjectMeta(name=name, uid=uid))


async def delete(client: Client, obj: Any, propagation: Propagation) -> None:
    target = Target(kind_of(type(obj)), obj.namespace, obj.name)
    await client.transport.delete(target, DeleteConditions(uid=obj.uid, propagation=propagation))


async def names(client: Client) -> set[str]:
    return {obj.name async for obj in client.list(ConfigMap)}


async def until_names(client: Client, collectors: Collectors, expected: set[str]) -> None:
    async def are() -> bool:
        return await names(client) == expected

    await collectors.until(are)


async def until_idle(client: Client, collectors: Collectors) -> None:
    """Wait until the collector has seen everything that was written so far, and has nothing left to do."""
    probe = await client.create(config("probe"))

    async def seen() -> bool:
        return collectors.informers.partial_of(CONFIG_MAP).get("probe", "default") is not None

    await collectors.until(seen)
    async with asyncio.timeout(STATE_SECONDS_MAX):
        while collectors.garbage.statistics()["keys"]:  # noqa: ASYNC110 - turns of the loop, until it has none left
            await asyncio.sleep(0)
    await client.delete(probe)


async def test_dependents_follow_their_last_owner(client: Client):
    first, second = await client.create(config("first")), await client.create(config("second"))
    child = await client.create(config("child", first, second))
    await client.create(config("grandchild", child))
    async with collecting(client) as collectors:
        await delete(client, first, "Background")

        async def one_owner_left() -> bool:
            found = await client.get(ConfigMap, "child", namespace="default")
            return [owner.name for owner in found.metadata.owner_references or ()] == ["second"]

        await collectors.until(one_owner_left)
        await delete(client, second, "Background")
        await until_names(client, collectors, set())


async def test_an_owner_is_known_by_its_uid_not_its_name(client: Client):
    first = await client.create(config("owner"))
    await client.create(config("child", first))
    await client.delete(first)
    await client.create(config("owner"))
    async with collecting(client) as collectors:
        await until_names(client, collectors, {"owner"})


async def test_an_owner_that_never_was_or_is_elsewhere_counts_as_gone(client: Client):
    await client.create(Namespace(metadata=ObjectMeta(name="far")))
    far = await client.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace="far")))
    await client.create(config("of-bogus", absent("bogus")))
    await client.create(config("of-elsewhere", far))
    await client.create(config("free"))
    async with collecting(client) as collectors:
        await until_names(client, collectors, {"owner", "free"})


async def test_an_owner_that_cannot_be_looked_up_counts_as_there(client: Client):
    await client.create(config("of-foreign", absent("web", api_version="apps/v1", kind="Deployment")))
    near = await client.create(config("near"))
    await client.create(Namespace(metadata=ObjectMeta(name="wide", owner_references=owned_by(near))))
    await client.delete(near)
    async with collecting(client) as collectors:
        await until_idle(client, collectors)
        assert "of-foreign" in await names(client)
        await client.get(Namespace, "wide")


async def test_a_cluster_scoped_owner_keeps_dependents_in_namespaces(client: Client):
    team = await client.create(Namespace(metadata=ObjectMeta(name="team")))
    await client.create(config("child", team))
    async with collecting(client) as collectors:
        await until_idle(client, collectors)
        assert "child" in await names(client)
        await client.delete(team)
        await until_names(client, collectors, set())


async def test_foreground_waits_for_dependents_that_block_and_for_no_others(client: Client):
    owner = await client.create(config("owner"))
    await client.create(config("blocking", owner, blocks=True, finalizers=[HOLD]))
    await client.create(config("other", owner, finalizers=[HOLD]))
    async with collecting(client) as collectors:
        await delete(client, owner, "Foreground")

        async def both_end() -> bool:
            found = [await client.get(ConfigMap, name, namespace="default") for name in ("blocking", "other")]
            return all(obj.metadata.deletion_timestamp for obj in found)

        await collectors.until(both_end)
        await until_idle(client, collectors)
        assert "owner" in await names(client)
        blocking = await client.get(ConfigMap, "blocking", namespace="default")
        await client.change(blocking, lambda obj: setattr(obj.metadata, "finalizers", None))
        await until_names(client, collectors, {"other"})


async def test_foreground_goes_down_to_the_leaves_first(client: Client):
    owner = await client.create(config("owner"))
    child = await client.create(config("child", owner, blocks=True))
    await client.create(config("leaf", child, blocks=True, finalizers=[HOLD]))
    async with collecting(client) as collectors:
        await delete(client, owner, "Foreground")

        async def leaf_ends() -> bool:
            leaf = await client.get(ConfigMap, "leaf", namespace="default")
            return leaf.metadata.deletion_timestamp is not None

        await collectors.until(leaf_ends)
        child = await client.get(ConfigMap, "child", namespace="default")
        assert child.metadata.finalizers == ["foregroundDeletion"]
        assert await names(client) == {"owner", "child", "leaf"}
        leaf = await client.get(ConfigMap, "leaf", namespace="default")
        await client.change(leaf, lambda obj: setattr(obj.metadata, "finalizers", None))
        await until_names(client, collectors, set())


async def test_a_circle_deleted_in_the_foreground_ends(client: Client):
    first = await client.create(config("first"))
    second = await client.create(config("second", first, blocks=True))
    await client.change(first, lambda obj: setattr(obj.metadata, "owner_references", owned_by(second, blocks=True)))
    async with collecting(client) as collectors:
        await delete(client, first, "Foreground")
        await until_names(client, collectors, set())


async def test_orphans_stay_and_forget_their_owner(client: Client):
    owner, other = await client.create(config("owner")), await client.create(config("other"))
    await client.create(config("child", owner, other))
    secret = Secret(metadata=ObjectMeta(name="secret", namespace="default", owner_references=owned_by(owner)))
    await client.create(secret)
    async with collecting(client) as collectors:
        await delete(client, owner, "Orphan")
        await until_names(client, collectors, {"other", "child"})
        await until_idle(client, collectors)
        child = await client.get(ConfigMap, "child", namespace="default")
        assert [found.name for found in child.metadata.owner_references or ()] == ["other"]
        orphan = await client.get(Secret, "secret", namespace="default")
        assert not orphan.metadata.owner_references


async def test_what_was_under_way_at_a_stop_is_finished_after_a_start(client: Client):
    owners = {name: await client.create(config(name)) for name in ("back", "fore", "orph")}
    for name, owner in owners.items():
        await client.create(config(f"of-{name}", owner, blocks=True))
    await delete(client, owners["back"], "Background")
    await delete(client, owners["fore"], "Foreground")
    await delete(client, owners["orph"], "Orphan")
    async with collecting(client) as collectors:
        await until_names(client, collectors, {"of-orph"})


async def test_a_start_behind_its_caches_sees_what_they_have_told_already(client: Client):
    await client.create(config("lost", absent("gone")))
    informers = Informers(client)
    caches = KindCaches(informers, catalogue_of(client))
    garbage = GarbageCollector(client.transport, caches)
    async with informers.running():
        await caches.synced()
        removed = asyncio.Event()
        informers.partial_of(CONFIG_MAP).on_change(lambda _: removed.set())
        async with garbage.running(), asyncio.timeout(STATE_SECONDS_MAX):
            await removed.wait()


async def test_many_replicas_do_it_once(client: Client):
    owner = await client.create(config("owner"))
    for number in range(20):
        await client.create(config(f"child-{number}", owner))
    async with collecting(client) as one, collecting(client) as _, collecting(client) as _:
        await delete(client, owner, "Foreground")
        await until_names(client, one, set())


class HeldBack:
    """The transport of another, whose lists of one kind wait for `gate`."""

    def __init__(self, transport: Transport, gate: asyncio.Event) -> None:
        self._transport = transport
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def list(self, target: Target, **options: Any) -> Document:
        if target.kind.model is Secret:
            await self._gate.wait()
        return await self._transport.list(target, **options)


async def test_nothing_is_collected_by_a_cache_that_is_not_complete(client: Client):
    owner = await client.create(Secret(metadata=ObjectMeta(name="owner", namespace="default")))
    await client.create(config("child", owner))
    await client.create(config("lost", absent("gone")))
    gate = asyncio.Event()
    async with collecting(Client(HeldBack(client.transport, gate))) as collectors:
        await collectors.informers.partial_of(CONFIG_MAP).synced()
        for _ in range(100):  # turns of the loop, in which it could do harm
            await client.get(ConfigMap, "child", namespace="default")
        assert await names(client) == {"child", "lost"}
        gate.set()
        await until_names(client, collectors, {"child"})


class Blind:
    """The transport of another, in whose watches and lists one object is never seen."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def list(self, target: Target, **options: Any) -> Document:
        page = await self._transport.list(target, **options)
        return page | {"items": [item for item in page["items"] if item["metadata"]["name"] != self._name]}


async def test_an_owner_that_the_cache_lacks_is_looked_up_before_its_dependents_go(client: Client):
    owner = await client.create(config("owner"))
    await client.create(config("child", owner))
    async with collecting(Client(Blind(client.transport, "owner"))) as collectors:
        await collectors.garbage.reconcile(Ref(CONFIG_MAP.resource, "default", "child"))
        await until_idle(client, collectors)
        assert collectors.informers.partial_of(CONFIG_MAP).get("owner", "default") is None
        assert await names(client) == {"owner", "child"}


async def test_an_object_written_meanwhile_is_judged_anew(client: Client):
    """Between the collector's read and its delete, the object gets an owner that lives."""
    keeper = await client.create(config("keeper"))
    lost = absent("gone")
    child = await client.create(config("child", lost))

    class Meddling(Blind):
        async def delete(self, target: Target, conditions: DeleteConditions = ANY_STATE) -> None:
            if target.name == "child" and (await names(client)) == {"child", "keeper"}:
                references = owned_by(lost, keeper)
                await client.change(child, lambda obj: setattr(obj.metadata, "owner_references", references))
            await self._transport.delete(target, conditions)

    async with collecting(Client(Meddling(client.transport, ""))) as collectors:

        async def kept_by_keeper() -> bool:
            found = await client.get(ConfigMap, "child", namespace="default")
            return [owner.name for owner in found.metadata.owner_references or ()] == ["keeper"]

        await collectors.until(kept_by_keeper)


async def test_a_system_namespace_with_an_owner_stays(client: Client):
    owner = await client.create(Namespace(metadata=ObjectMeta(name="owner")))
    default = await client.get(Namespace, "default")
    await client.change(default, lambda obj: setattr(obj.metadata, "owner_references", owned_by(owner)))
    async with collecting(client) as collectors:
        await client.delete(owner)

        async def gone() -> bool:
            return await client.find(Namespace, "owner") is None

        await collectors.until(gone)
        await until_idle(client, collectors)
        await client.get(Namespace, "default")


async def test_a_turn_for_what_is_gone_is_quiet(client: Client):
    async with collecting(client) as collectors:
        await collectors.garbage.reconcile(Ref(CONFIG_MAP.resource, "default", "absent"))
    with pytest.raises(NotFound):
        await client.get(ConfigMap, "absent", namespace="default")
