"""Get and list: selection, pages of one snapshot, and what versions mean."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.api.errors import AlreadyExists, BadRequest, Expired, Invalid, NotFound, Timeout
from skerry.api.registry import KINDS
from skerry.api.selectors import parse_field_selector, parse_label_selector
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import DeleteOptions, ListOptions, Selection, Target, WriteOptions
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.memory import open_memory
from skerry.testing.api_server import open_verbs


def labels(text: str) -> Selection:
    return Selection(labels=parse_label_selector(text))


def fields(text: str) -> Selection:
    return Selection(fields=parse_field_selector(text))


@pytest.fixture
async def five(client: Any) -> Any:
    for number in range(5):
        await client.create(client.configs, client.config(f"c{number}", labels={"odd": str(number % 2)}))
    return client


async def test_selections(five: Any) -> None:
    assert await five.names(five.configs, selection=labels("odd=1")) == ["c1", "c3"]
    assert await five.names(five.configs, selection=fields("metadata.name=c2")) == ["c2"]
    assert await five.names(five.configs, selection=fields("metadata.name=c2,metadata.namespace=x")) == []
    assert await five.names(Target(five.configs.kind), selection=fields("metadata.name=c2")) == ["c2"]
    assert await five.names(five.namespaces, selection=fields("status.phase=Active")) == ["default", "kube-system"]
    with pytest.raises(BadRequest, match="^field label not supported: spec.x$"):
        await five.names(five.configs, selection=fields("spec.x=1"))


async def test_pages_tell_what_remains_and_stay_at_their_snapshot(five: Any) -> None:
    first = await five.verbs.list(five.configs, ListOptions(limit=2))
    assert (len(first.items), first.remaining) == (2, 3)
    await five.delete(five.configs, "c3")
    await five.create(five.configs, five.config("c9"))
    second = await five.verbs.list(five.configs, ListOptions(limit=2, continue_token=first.continue_token))
    third = await five.verbs.list(five.configs, ListOptions(limit=2, continue_token=second.continue_token))
    assert [item.metadata["name"] for item in (*second.items, *third.items)] == ["c2", "c3", "c4"]
    assert {first.revision, second.revision, third.revision} == {first.revision}
    assert second.remaining == 1
    assert (third.continue_token, third.remaining) == ("", None)


async def test_pages_of_a_selection_do_not_tell_what_remains(five: Any) -> None:
    page = await five.verbs.list(five.configs, ListOptions(limit=1, selection=labels("odd=1")))
    assert page.continue_token
    assert page.remaining is None


async def test_a_page_whose_snapshot_is_compacted_is_expired(five: Any) -> None:
    first = await five.verbs.list(five.configs, ListOptions(limit=2))
    await five.create(five.configs, five.config("c9"))
    await five.log.compact(await five.log.revision())
    with pytest.raises(Expired, match="The provided continue parameter is too old"):
        await five.verbs.list(five.configs, ListOptions(limit=2, continue_token=first.continue_token))


@pytest.mark.parametrize("token", ["x", "!!", "bnVsbA", "WzEsMl0", "W3RydWUsImEiLCJiIl0", "a" * 5000, "\N{SNOWMAN}"])
async def test_a_token_that_no_list_gave_is_refused(client: Any, token: str) -> None:
    with pytest.raises(BadRequest, match="continue key is not valid"):
        await client.verbs.list(client.configs, ListOptions(continue_token=token))


async def test_versions_of_lists(five: Any) -> None:
    newest = await five.log.revision()
    exact = ListOptions(resource_version=str(newest - 1), version_match="Exact")
    assert await five.names(five.configs, resource_version="0") == await five.names(five.configs)
    assert len((await five.verbs.list(five.configs, exact)).items) == 4
    assert len(await five.names(five.configs, resource_version=str(newest - 1), version_match="NotOlderThan")) == 5
    assert len(await five.names(five.configs, resource_version=str(newest - 1))) == 5
    with pytest.raises(Timeout, match=f"Too large resource version: {newest + 1}, current: {newest}") as error:
        await five.names(five.configs, resource_version=str(newest + 1))
    assert error.value.details["causes"][0]["reason"] == "ResourceVersionTooLarge"
    await five.log.compact(newest)
    with pytest.raises(Expired, match="too old resource version"):
        await five.verbs.list(five.configs, exact)


@pytest.mark.parametrize(
    "options",
    [
        {"version_match": "Exact"},
        {"version_match": "Exact", "resource_version": "0"},
        {"version_match": "NotOlderThan", "resource_version": "1", "continue_token": "x"},
        {"resource_version": "many"},
        {"resource_version": "-1"},
    ],
)
async def test_versions_that_make_no_sense(client: Any, options: Any) -> None:
    with pytest.raises(Invalid):
        await client.verbs.list(client.configs, ListOptions(**options))


async def test_get(five: Any) -> None:
    newest = await five.log.revision()
    assert (await five.verbs.get(five.one(five.configs, "c0"), str(newest))).metadata["name"] == "c0"
    with pytest.raises(NotFound, match='^configmaps "none" not found$') as error:
        await five.get(five.configs, "none")
    assert error.value.details == {"name": "none", "kind": "configmaps"}
    with pytest.raises(Timeout):
        await five.verbs.get(five.one(five.configs, "c0"), str(newest + 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(names=st.sets(st.integers(0, 99), max_size=15), limit=st.integers(1, 6), odd=st.booleans())
async def test_pages_add_up_to_the_list(names: set[int], limit: int, *, odd: bool) -> None:
    async with open_memory() as driver, open_log(driver) as log:
        verbs = Verbs(log, KINDS, SystemClock(), RandomIds())
        await verbs.bootstrap()
        target = Target(next(kind for kind in KINDS if kind.plural == "configmaps"), "default")
        for name in names:
            document = {"metadata": {"name": f"n{name:02}", "labels": {"odd": str(name % 2)}}}
            await verbs.create(target, document, WriteOptions())
        selection = labels("odd=1") if odd else Selection()
        whole = await verbs.list(target, ListOptions(selection))
        found, token = list[Stored](), ""
        while True:
            page = await verbs.list(target, ListOptions(selection, limit, token))
            found += page.items
            assert len(page.items) <= limit
            token = page.continue_token
            if not token:
                break
        assert [item.json for item in found] == [item.json for item in whole.items]
        assert len(found) == (sum(name % 2 for name in names) if odd else len(names))


STEPS = st.lists(st.tuples(st.sampled_from(["create", "change", "delete"]), st.integers(0, 12)), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(before=STEPS, between=st.lists(STEPS, min_size=1, max_size=5), limit=st.integers(1, 3))
async def test_pages_add_up_to_the_list_at_their_first_page_whatever_is_written_between(
    before: list[tuple[str, int]], between: list[list[tuple[str, int]]], limit: int
) -> None:
    async with open_verbs() as (verbs, _):
        target = Target(next(kind for kind in KINDS if kind.plural == "configmaps"), "default")

        async def write(steps: list[tuple[str, int]]) -> None:
            for count, (step, number) in enumerate(steps):
                one = Target(target.kind, "default", f"n{number:02}")
                with suppress(AlreadyExists, NotFound):
                    match step:
                        case "create":
                            await verbs.create(target, {"metadata": {"name": one.name}}, WriteOptions())
                        case "change":
                            patch = MergePatch({"data": {"count": f"{count} of {len(steps)}"}})
                            await verbs.patch(one, patch, WriteOptions())
                        case _:
                            await verbs.delete(one, DeleteOptions())

        await write([*(("create", number) for number in range(0, 12, 2)), *before])
        whole = await verbs.list(target, ListOptions())
        found, token, writes = list[Stored](), "", iter(between)
        while True:
            page = await verbs.list(target, ListOptions(limit=limit, continue_token=token))
            assert page.revision == whole.revision
            found += page.items
            token = page.continue_token
            if not token:
                break
            await write(next(writes, []))
        assert [item.json for item in found] == [item.json for item in whole.items]
