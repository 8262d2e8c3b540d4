"""Definitions get their names, make their kinds, and end with their objects."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION, CustomResourceDefinition
from skerry.api.catalogue import Catalogue
from skerry.api.errors import Forbidden, MethodNotAllowed, NotFound
from skerry.api.kinds import Kind
from skerry.api.model import ObjectMeta, condition_of, is_true
from skerry.api.rbac_v1 import ClusterRole
from skerry.api.registry import DEFINED_KINDS
from skerry.client.client import Client
from skerry.client.transport import Target
from skerry.controllers import definitions
from skerry.testing.control_plane import Collectors, catalogue_of, collecting, memory_control_plane
from skerry.testing.definitions import definition

NAME = "widgets.example.com"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with memory_control_plane() as opened:
        yield opened


@pytest.fixture
def catalogue(client: Client) -> Catalogue:
    return catalogue_of(client)


async def create(client: Client, **what: Any) -> None:
    await client.transport.create(Target(CUSTOM_RESOURCE_DEFINITION), definition(**what))


async def served(catalogue: Catalogue, collectors: Collectors, plural: str = "widgets") -> Kind[Any]:
    async def is_served() -> bool:
        return catalogue.current.find("example.com", "v1", plural) is not None

    await collectors.until(is_served)
    kind = catalogue.current.find("example.com", "v1", plural)
    assert kind
    return kind


async def until_condition(client: Client, collectors: Collectors, name: str, condition: str, reason: str) -> None:
    async def holds() -> bool:
        found = await client.get(CustomResourceDefinition, name)
        told = condition_of(found.status.conditions, condition)
        return told is not None and told.reason == reason

    await collectors.until(holds)


async def until_gone(client: Client, collectors: Collectors, name: str = NAME) -> None:
    async def is_gone() -> bool:
        return await client.find(CustomResourceDefinition, name) is None

    await collectors.until(is_gone)


async def test_a_definition_is_established_and_its_kind_served(client: Client, catalogue: Catalogue):
    async with collecting(client) as collectors:
        await create(client)
        kind = await served(catalogue, collectors)
        found = await client.get(CustomResourceDefinition, NAME)
        assert is_true(found.status.conditions, "NamesAccepted")
        assert found.status.accepted_names == found.spec.names
        assert found.status.stored_versions == ["v1"]
        created = await client.transport.create(
            Target(kind, "default"), {"metadata": {"name": "a"}, "spec": {"size": 1}}
        )
        assert created["spec"] == {"size": 1, "color": "red"}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({"kind": "Gadget"}, "ShortNamesConflict"),
        ({"kind": "Gadget", "shortNames": [], "singular": "widget"}, "SingularConflict"),
        ({"shortNames": [], "singular": "gadget", "listKind": "GadgetList"}, "KindConflict"),
        ({"kind": "Gadget", "shortNames": [], "listKind": "WidgetList"}, "ListKindConflict"),
    ],
)
async def test_names_that_are_taken_are_refused_until_they_are_free(
    client: Client, catalogue: Catalogue, names: Any, reason: str
):
    async with collecting(client) as collectors:
        await create(client)
        await served(catalogue, collectors)
        await create(client, plural="gadgets", names=names)
        await until_condition(client, collectors, "gadgets.example.com", "NamesAccepted", reason)
        refused = await client.get(CustomResourceDefinition, "gadgets.example.com")
        assert not is_true(refused.status.conditions, "Established")
        assert catalogue.current.find("example.com", "v1", "gadgets") is None
        await client.delete(await client.get(CustomResourceDefinition, NAME))
        await served(catalogue, collectors, "gadgets")


async def test_of_two_that_come_at_once_one_gets_the_name(client: Client):
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(create(client, plural=f"p{number}"))
    async with collecting(client) as collectors:

        async def all_are_told() -> bool:
            found = [found async for found in client.list(CustomResourceDefinition)]
            return all(found.status.conditions for found in found)

        await collectors.until(all_are_told)
        accepted = [
            found.name
            async for found in client.list(CustomResourceDefinition)
            if is_true(found.status.conditions, "NamesAccepted")
        ]
        assert len(accepted) == 1


async def test_names_of_built_in_kinds_are_taken(client: Client):
    async with collecting(client) as collectors:
        names = {"kind": "EdgeFunction", "shortNames": []}
        await create(client, group="extensions.apoxy.dev", plural="copies", names=names)
        await until_condition(client, collectors, "copies.extensions.apoxy.dev", "NamesAccepted", "ListKindConflict")


async def test_no_more_definitions_are_served_than_the_limit(
    client: Client, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(definitions, "DEFINITIONS_MAX", 1 - len(DEFINED_KINDS))
    async with collecting(client) as collectors:
        await create(client)
        await served(catalogue, collectors)
        await create(client, plural="gadgets", names={"kind": "Gadget", "shortNames": []})
        await until_condition(client, collectors, "gadgets.example.com", "NamesAccepted", "TooManyDefinitions")


async def test_a_definition_takes_its_objects_with_it(client: Client, catalogue: Catalogue):
    async with collecting(client) as collectors:
        await create(client)
        kind = await served(catalogue, collectors)
        for number in range(5):
            await client.transport.create(Target(kind, "default"), {"metadata": {"name": f"w{number}"}})
        await client.delete(await client.get(CustomResourceDefinition, NAME))
        await until_gone(client, collectors)
        left = await client.transport.list(Target(kind), label_selector="", limit=0, continue_token="")
        assert left["items"] == []


async def test_a_definition_takes_its_objects_with_it_when_none_of_its_versions_is_served(
    client: Client, catalogue: Catalogue
):
    async with collecting(client) as collectors:
        await create(client)
        kind = await served(catalogue, collectors)
        await client.transport.create(Target(kind, "default"), {"metadata": {"name": "a"}})
        found = await client.get(CustomResourceDefinition, NAME)

        def hide(d: CustomResourceDefinition) -> None:
            d.spec.versions[0].served = False

        async def is_hidden() -> bool:
            return catalogue.current.find("example.com", "v1", "widgets") is None

        await client.change(found, hide)
        await collectors.until(is_hidden)
        await client.delete(await client.get(CustomResourceDefinition, NAME))
        await until_gone(client, collectors)
        left = await client.transport.list(Target(kind), label_selector="", limit=0, continue_token="")
        assert left["items"] == []


async def test_the_end_of_a_definition_that_never_got_the_name_of_a_built_in_kind_leaves_its_objects_alone(
    client: Client,
):
    async with collecting(client) as collectors:
        await client.create(ClusterRole(metadata=ObjectMeta(name="ours")))
        document = definition(group="rbac.authorization.k8s.io", plural="clusterroles", names={"kind": "ClusterRole"})
        document["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://example.com"}
        document["spec"]["scope"] = "Cluster"
        await client.transport.create(Target(CUSTOM_RESOURCE_DEFINITION), document)
        name = document["metadata"]["name"]
        await client.delete(await client.get(CustomResourceDefinition, name))
        await until_gone(client, collectors, name)
        assert await client.find(ClusterRole, "ours")


async def test_finalizers_of_objects_hold_a_definition_which_says_so_and_takes_nothing_new(
    client: Client, catalogue: Catalogue
):
    async with collecting(client) as collectors:
        await create(client)
        kind = await served(catalogue, collectors)
        held = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
        await client.transport.create(Target(kind, "default"), held)
        await client.delete(await client.get(CustomResourceDefinition, NAME))
        await until_condition(client, collectors, NAME, "Terminating", "InstanceDeletionInProgress")
        ending = await client.get(CustomResourceDefinition, NAME)
        told = condition_of(ending.status.conditions, "Terminating")
        assert told
        assert told.message.endswith("1 objects remain, held by the finalizers example.com/hold in 1")
        kind = await served(catalogue, collectors)
        with pytest.raises(
            MethodNotAllowed, match="create not allowed while custom resource definition is terminating"
        ):
            await client.transport.create(Target(kind, "default"), {"metadata": {"name": "late"}})
        place = Target(kind, "default", "held")
        await client.transport.merge_patch(place, {"metadata": {"finalizers": None}})
        await until_gone(client, collectors)


async def test_a_restart_goes_on_where_the_last_life_stopped(client: Client, catalogue: Catalogue):
    await create(client)
    async with collecting(client) as collectors:
        kind = await served(catalogue, collectors)
        await client.transport.create(Target(kind, "default"), {"metadata": {"name": "a"}})
    await client.delete(await client.get(CustomResourceDefinition, NAME))
    async with collecting(client) as collectors:
        await until_gone(client, collectors)


async def test_custom_objects_go_with_their_owners_whenever_their_kind_came(client: Client, catalogue: Catalogue):
    async with collecting(client) as collectors:
        await create(client)
        kind = await served(catalogue, collectors)
        owner = await client.transport.create(Target(kind, "default"), {"metadata": {"name": "owner"}})
        reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner["metadata"]["uid"]}
        owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
        await client.transport.create(Target(kind, "default"), owned)
        await client.transport.delete(Target(kind, "default", "owner"))

        async def is_gone() -> bool:
            try:
                await client.transport.get(Target(kind, "default", "owned"))
            except NotFound:
                return True
            return False

        await collectors.until(is_gone)


async def test_the_definition_of_a_built_in_kind_is_refused(client: Client):
    for change in (client.delete, lambda obj: client.change(obj, lambda o: setattr(o.metadata, "labels", {"a": "b"}))):
        own = CustomResourceDefinition.model_construct(
            metadata=ObjectMeta(name="edgefunctions.extensions.apoxy.dev", uid="u"), spec=None
        )
        with pytest.raises(Forbidden, match="it describes a kind that is built into Skerry"):
            await change(own)
