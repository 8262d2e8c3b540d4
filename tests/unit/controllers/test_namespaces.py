from typing import Any

from skerry.api.core_v1 import ConfigMap, Namespace, Secret
from skerry.api.errors import Forbidden
from skerry.api.model import ObjectMeta, condition_of
from skerry.client.client import Client
from skerry.client.transport import ANY_STATE, DeleteConditions, Target, Transport
from skerry.store.records import Key
from skerry.testing.control_plane import Collectors, collecting

HOLD = "example.com/hold"


async def make_namespace(client: Client, name: str = "team", finalizers: list[str] | None = None) -> Namespace:
    return await client.create(Namespace(metadata=ObjectMeta(name=name, finalizers=finalizers)))


async def make_config(client: Client, name: str, namespace: str = "team", *finalizers: str) -> ConfigMap:
    metadata = ObjectMeta(name=name, namespace=namespace, finalizers=list(finalizers) or None)
    return await client.create(ConfigMap(metadata=metadata))


async def until_gone(client: Client, collectors: Collectors, name: str = "team") -> None:
    async def gone() -> bool:
        return await client.find(Namespace, name) is None

    await collectors.until(gone)


async def until_told(client: Client, collectors: Collectors, condition_type: str, status: str) -> Namespace:
    async def told() -> bool:
        condition = condition_of((await client.get(Namespace, "team")).status.conditions, condition_type)
        return condition is not None and condition.status == status

    await collectors.until(told)
    return await client.get(Namespace, "team")


async def test_a_namespace_goes_with_everything_in_it_and_nothing_else(client: Client):
    namespace = await make_namespace(client)
    for number in range(3):
        await make_config(client, f"c{number}")
    await client.create(Secret(metadata=ObjectMeta(name="s", namespace="team")))
    await make_config(client, "elsewhere", "default")
    async with collecting(client) as collectors:
        await client.delete(namespace)
        await until_gone(client, collectors)
    assert [obj.name async for obj in client.list(ConfigMap)] == ["elsewhere"]
    assert [obj.name async for obj in client.list(Secret)] == []


async def test_more_than_a_page_goes(client: Client):
    namespace = await make_namespace(client)
    for number in range(501):
        await make_config(client, f"c{number:03}")
    async with collecting(client) as collectors:
        await client.delete(namespace)
        await until_gone(client, collectors)
    assert [obj.name async for obj in client.list(ConfigMap)] == []


async def test_conditions_say_what_remains_until_it_is_gone(client: Client):
    namespace = await make_namespace(client, finalizers=["example.com/own"])
    for name in ("held-1", "held-2"):
        await make_config(client, name, "team", HOLD)
    await make_config(client, "free")
    async with collecting(client) as collectors:
        await client.delete(namespace)
        ending = await until_told(client, collectors, "NamespaceContentRemaining", "True")
        assert ending.status.phase == "Terminating"
        conditions = {c.type: (c.status, c.reason, c.message) for c in ending.status.conditions or ()}
        assert conditions == {
            "NamespaceDeletionDiscoveryFailure": (
                *("False", "ResourcesDiscovered"),
                "All resources successfully discovered",
            ),
            "NamespaceDeletionGroupVersionParsingFailure": (
                *("False", "ParsedGroupVersions"),
                "All legacy kube types successfully parsed",
            ),
            "NamespaceDeletionContentFailure": (
                *("False", "ContentDeleted"),
                "All content successfully deleted, may be waiting on finalization",
            ),
            "NamespaceContentRemaining": (
                *("True", "SomeResourcesRemain"),
                "Some resources are remaining: configmaps. has 2 resource instances",
            ),
            "NamespaceFinalizersRemaining": (
                *("True", "SomeFinalizersRemain"),
                f"Some content in the namespace has finalizers remaining: {HOLD} in 2 resource instances",
            ),
        }
        for name in ("held-1", "held-2"):
            held = await client.get(ConfigMap, name, namespace="team")
            await client.change(held, lambda obj: setattr(obj.metadata, "finalizers", None))
        ending = await until_told(client, collectors, "NamespaceContentRemaining", "False")
        told = condition_of(ending.status.conditions, "NamespaceFinalizersRemaining")
        assert told is not None
        assert (told.status, told.reason) == ("False", "ContentHasNoFinalizers")

        async def finalized() -> bool:
            return not (await client.get(Namespace, "team")).spec.finalizers

        await collectors.until(finalized)
        ending = await client.get(Namespace, "team")
        await client.change(ending, lambda obj: setattr(obj.metadata, "finalizers", None))
        await until_gone(client, collectors)


async def test_what_was_under_way_at_a_stop_is_finished_after_a_start(client: Client):
    namespace = await make_namespace(client)
    await make_config(client, "inside")
    await client.delete(namespace)
    async with collecting(client) as collectors:
        await until_gone(client, collectors)
    assert [obj.name async for obj in client.list(ConfigMap)] == []


class Refusing:
    """The transport of another, that refuses the first deletes."""

    def __init__(self, transport: Transport, refusals: int) -> None:
        self._transport = transport
        self._refusals = refusals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def delete(self, target: Target, conditions: DeleteConditions = ANY_STATE) -> None:
        if self._refusals:
            self._refusals -= 1
            raise Forbidden(f"no deleting of {target.name}")
        await self._transport.delete(target, conditions)


async def test_a_failure_to_delete_is_told_and_tried_again(client: Client):
    namespace = await make_namespace(client)
    await make_config(client, "stuck")
    await client.delete(namespace)
    # More refusals than there are changes to wake the controller: it has to come back by itself.
    async with collecting(Client(Refusing(client.transport, 4))) as collectors:
        ending = await until_told(client, collectors, "NamespaceDeletionContentFailure", "True")
        failure = condition_of(ending.status.conditions, "NamespaceDeletionContentFailure")
        assert failure is not None
        assert failure.reason == "ContentDeletionFailed"
        assert failure.message == "Failed to delete all resource types, 1 remaining: no deleting of stuck"
        await until_gone(client, collectors)


class Late:
    """The transport of another: an object lands in a namespace in the moment that it is let go."""

    def __init__(self, transport: Transport, write: Any) -> None:
        self._transport = transport
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def replace(self, target: Target, document: Any) -> Any:
        if target.subresource == "finalize":
            await self._write()
        return await self._transport.replace(target, document)


async def test_nothing_is_left_of_a_create_that_lands_after_the_last_look(client: Client):
    namespace = await make_namespace(client)
    verbs = client.transport._verbs  # type: ignore[attr-defined]
    log = verbs._deleter._log
    template = await make_config(client, "template")
    entry = await log.get(key_of(template))
    await client.delete(template)

    async def write() -> None:
        """Write as a create does that passed its checks before the namespace was marked."""
        await log.put(key_of(template), entry.value, expected_revision=0)

    async with collecting(Client(Late(client.transport, write))) as collectors:
        await client.delete(namespace)
        await until_gone(client, collectors)

        async def nothing_left() -> bool:
            return [obj.name async for obj in client.list(ConfigMap)] == []

        await collectors.until(nothing_left)


def key_of(obj: ConfigMap) -> Any:
    return Key("configmaps", obj.namespace, obj.name)


async def test_a_namespace_that_does_not_end_is_left_alone(client: Client):
    await make_namespace(client)
    await make_config(client, "inside")
    other = await make_namespace(client, "other")
    async with collecting(client) as collectors:
        await client.delete(other)
        await until_gone(client, collectors, "other")
        assert [obj.name async for obj in client.list(ConfigMap)] == ["inside"]
        assert (await client.get(Namespace, "team")).status.phase == "Active"
