"""Watch: what a selection sees of the changes, from where, and when it must start again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.api.errors import BadRequest, Expired, Timeout
from skerry.api.selectors import parse_field_selector, parse_label_selector
from skerry.server.verbs.patches.merge_patch import merge_patch
from skerry.server.verbs.requests import Selection, Target, WriteOptions
from skerry.server.verbs.watching import INITIAL_BATCH, Bookmark, Observed

NOW = WriteOptions()


async def take(seen: AsyncIterator[Any], number: int) -> list[Any]:
    """Return the next changes, whatever batches they come in, without bookmarks."""
    found: list[Any] = []
    while len(found) < number:
        found += [one for one in await anext(seen) if isinstance(one, Observed)]
    return found


def told(observed: Observed) -> tuple[str, str, int]:
    return observed.type, observed.object.metadata["name"], observed.object.revision


async def test_a_watch_begins_with_the_present_state(client: Any) -> None:
    await client.create(client.configs, client.config("a"))
    for version in ("", "0"):
        async with client.watch(client.configs, resource_version=version) as seen:
            assert [told(one)[:2] for one in await take(seen, 1)] == [("ADDED", "a")]


async def test_every_change_after_a_version_is_told_once_in_order(client: Any) -> None:
    start = (await client.create(client.configs, client.config("a"))).object.revision
    target = client.one(client.configs, "a")
    await client.verbs.patch(target, merge_patch({"data": {"x": "1"}}), NOW)
    async with client.watch(client.configs, resource_version=str(start)) as seen:
        await client.create(client.configs, client.config("b"))
        await client.delete(client.configs, "a")
        changes = [told(one) for one in await take(seen, 3)]
    assert [change[:2] for change in changes] == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert [change[2] for change in changes] == [start + 1, start + 2, start + 3]


async def test_entering_and_leaving_a_selection(client: Any) -> None:
    start = (await client.create(client.configs, client.config("a"))).object.revision
    target = client.one(client.configs, "a")
    selection = Selection(parse_label_selector("l=x"))
    async with client.watch(client.configs, resource_version=str(start), selection=selection) as seen:
        for label in ("x", "x2", "x", None):
            await client.verbs.patch(target, merge_patch({"metadata": {"labels": {"l": label}}}), NOW)
        changes = await take(seen, 4)
    assert [told(one)[0] for one in changes] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    assert changes[1].object.metadata["labels"] == {"l": "x"}
    assert changes[1].object.metadata["resourceVersion"] == str(start + 2)


async def test_only_the_namespace_that_is_watched(client: Any) -> None:
    await client.create(client.namespaces, client.config("other"))
    start = await client.log.revision()
    elsewhere = Target(client.configs.kind, "other")
    async with (
        client.watch(client.configs, resource_version=str(start)) as here,
        client.watch(Target(client.configs.kind), resource_version=str(start)) as everywhere,
    ):
        await client.create(elsewhere, client.config("x"))
        await client.create(client.configs, client.config("y"))
        assert [told(one)[1] for one in await take(here, 1)] == ["y"]
        assert [told(one)[1] for one in await take(everywhere, 2)] == ["x", "y"]


async def test_initial_events_end_with_a_bookmark(client: Any) -> None:
    await client.create(client.configs, client.config("a"))
    async with client.watch(client.configs, bookmarks=True, initial_events=True) as seen:
        (first,) = await anext(seen)
        assert told(first)[:2] == ("ADDED", "a")
        (end,) = await anext(seen)
        assert end == Bookmark(await client.log.revision(), ends_initial_events=True)


async def test_bookmarks_are_for_those_who_ask(client: Any) -> None:
    start = str(await client.log.revision())
    async with client.watch(client.configs, resource_version=start, bookmarks=True) as seen:
        assert await anext(seen) == (Bookmark(int(start)),)
    async with client.watch(client.configs, resource_version=start) as seen:
        await client.create(client.configs, client.config("a"))
        assert isinstance((await anext(seen))[0], Observed)


async def test_a_version_that_is_compacted_or_not_written_yet(client: Any) -> None:
    await client.create(client.configs, client.config("a"))
    newest = await client.log.revision()
    await client.log.compact(newest)
    with pytest.raises(Expired, match=f"too old resource version: 1 .{newest}."):
        async with client.watch(client.configs, resource_version="1"):
            pass
    with pytest.raises(Timeout, match="Too large resource version"):
        async with client.watch(client.configs, resource_version=str(newest + 1)):
            pass


async def test_a_selection_that_can_not_be_served(client: Any) -> None:
    with pytest.raises(BadRequest, match="field label not supported"):
        async with client.watch(client.configs, selection=Selection(fields=parse_field_selector("spec.x=1"))):
            pass


async def test_watchers_of_one_change_share_its_moment(client: Any) -> None:
    start = str(await client.log.revision())
    async with (
        client.watch(client.configs, resource_version=start) as first,
        client.watch(client.configs, resource_version=start) as second,
    ):
        await client.create(client.configs, client.config("a"))
        (one,), (other,) = await take(first, 1), await take(second, 1)
    assert one.moment is other.moment


async def test_a_large_present_state_is_told_in_batches(client: Any) -> None:
    names = [f"c{number:04}" for number in range(INITIAL_BATCH + 1)]
    for name in names:
        await client.create(client.configs, client.config(name))
    async with client.watch(client.configs, bookmarks=True, initial_events=True) as seen:
        batches = [await anext(seen) for _ in range(3)]
    assert [told(one)[1] for batch in batches[:2] for one in batch] == names
    assert [len(batch) for batch in batches] == [INITIAL_BATCH, 1, 1]
