"""What every driver promises of puts, deletes, gets, lists and compaction."""

import asyncio

import pytest

from skerry.store.errors import Compacted, Conflict, FutureRevision, ValueTooLarge
from skerry.store.log import Entry, Key, RevisionLog


def key(name: str, *, namespace: str = "default", resource: str = "secrets") -> Key:
    return Key(resource, namespace, name)


async def names(log: RevisionLog, revision: int | None = None) -> list[str]:
    return [entry.key.name for entry in (await log.list("secrets", revision=revision, limit=None)).entries]


async def test_put_creates_and_replaces_under_the_expected_revision(log: RevisionLog) -> None:
    first = await log.put(key("a"), b"1", expected_revision=0)
    second = await log.put(key("a"), b"2", expected_revision=first)
    assert second > first > 0
    assert await log.get(key("a")) == Entry(key("a"), second, first, b"2")


async def test_an_unmet_condition_reports_the_present_entry_and_changes_nothing(log: RevisionLog) -> None:
    revision = await log.put(key("a"), b"1", expected_revision=0)
    entry = await log.get(key("a"))
    for expected in (0, revision + 1):
        with pytest.raises(Conflict) as caught:
            await log.put(key("a"), b"2", expected_revision=expected)
        assert caught.value.current == entry
    with pytest.raises(Conflict) as caught:
        await log.put(key("b"), b"2", expected_revision=revision)
    assert caught.value.current is None
    assert await log.revision() == revision
    assert await names(log) == ["a"]


async def test_delete_removes_the_entry_at_its_revision_only(log: RevisionLog) -> None:
    revision = await log.put(key("a"), b"1", expected_revision=0)
    with pytest.raises(Conflict):
        await log.delete(key("a"), expected_revision=revision + 1)
    deleted = await log.delete(key("a"), expected_revision=revision)
    assert deleted > revision
    assert await log.get(key("a")) is None
    with pytest.raises(Conflict):
        await log.delete(key("a"), expected_revision=deleted)


async def test_a_name_used_again_has_a_new_created_revision(log: RevisionLog) -> None:
    first = await log.put(key("a"), b"1", expected_revision=0)
    await log.delete(key("a"), expected_revision=first)
    again = await log.put(key("a"), b"2", expected_revision=0)
    entry = await log.get(key("a"))
    assert entry is not None
    assert entry.created_revision == entry.revision == again


async def test_one_of_many_concurrent_creates_wins(log: RevisionLog) -> None:
    async def create() -> bool:
        try:
            await log.put(key("a"), b"1", expected_revision=0)
        except Conflict:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(create()) for _ in range(16)]
    assert sum(task.result() for task in tasks) == 1


async def test_list_is_in_order_of_namespace_and_name_and_keeps_to_its_scope(log: RevisionLog) -> None:
    for namespace, name in (("b", "a"), ("a", "é"), ("a", "z"), ("", "c"), ("a", "a")):
        await log.put(key(name, namespace=namespace), b"", expected_revision=0)
    await log.put(key("x", resource="configmaps"), b"", expected_revision=0)
    page = await log.list("secrets", limit=None)
    found = [(entry.key.namespace, entry.key.name) for entry in page.entries]
    assert found == [("", "c"), ("a", "a"), ("a", "z"), ("a", "é"), ("b", "a")]
    assert (page.more, page.remaining, page.revision) == (False, 0, await log.revision())
    page = await log.list("secrets", namespace="a", limit=None)
    assert [entry.key.name for entry in page.entries] == ["a", "z", "é"]
    page = await log.list("secrets", namespace="", limit=None)
    assert [entry.key.name for entry in page.entries] == ["c"]


async def test_a_place_outside_of_the_namespace_bounds_the_list_by_order(log: RevisionLog) -> None:
    await log.put(key("m", namespace="m"), b"", expected_revision=0)
    before = await log.list("secrets", namespace="m", after=("a", "z"), limit=None)
    behind = await log.list("secrets", namespace="m", after=("z", "a"), limit=None)
    assert (len(before.entries), len(behind.entries)) == (1, 0)


async def test_pages_add_up_to_one_snapshot_while_writes_go_on(log: RevisionLog) -> None:
    for number in range(25):
        await log.put(key(f"{number:02}"), b"old", expected_revision=0)
    expected = (await log.list("secrets", limit=None)).entries
    entries: list[Entry] = []
    page = await log.list("secrets", limit=4)
    assert page.remaining == 21
    entries += page.entries
    while page.more:
        last = entries[-1].key
        follower = entries[-1].revision + 1
        if follower <= 25:
            await log.put(key(f"{follower - 1:02}"), b"new", expected_revision=follower)
        await log.put(key(f"new-{follower}"), b"", expected_revision=0)
        page = await log.list("secrets", revision=page.revision, after=(last.namespace, last.name), limit=4)
        entries += page.entries
        assert page.remaining is None
    assert tuple(entries) == expected


async def test_an_entry_is_shown_as_it_was_at_a_revision(log: RevisionLog) -> None:
    revisions = [await log.put(key("ab"), b"1", expected_revision=0)]
    for neighbour in ("aa", "aaz", "ab-", "abc", "a"):
        await log.put(key(neighbour), b"", expected_revision=0)
    revisions.append(await log.put(key("ab"), b"2", expected_revision=revisions[0]))
    revisions.append(await log.delete(key("ab"), expected_revision=revisions[1]))
    found = [await log.get_at(key("ab"), revision) for revision in (0, *revisions)]
    assert [entry and entry.value for entry in found] == [None, b"1", b"2", None]
    between = await log.get_at(key("ab"), revisions[1] - 1)
    assert between is not None
    assert (between.value, between.revision) == (b"1", revisions[0])
    with pytest.raises(FutureRevision):
        await log.get_at(key("ab"), revisions[-1] + 1)
    await log.compact(revisions[-1])
    with pytest.raises(Compacted):
        await log.get_at(key("ab"), revisions[0])


async def test_a_list_at_an_old_revision_shows_what_was_there(log: RevisionLog) -> None:
    first = await log.put(key("a"), b"1", expected_revision=0)
    second = await log.put(key("b"), b"1", expected_revision=0)
    third = await log.delete(key("a"), expected_revision=first)
    fourth = await log.put(key("a"), b"2", expected_revision=0)
    assert [await names(log, revision) for revision in (0, first, second, third, fourth)] == [
        [],
        ["a"],
        ["a", "b"],
        ["b"],
        ["a", "b"],
    ]
    page = await log.list("secrets", revision=first, limit=None)
    assert page.entries == (Entry(key("a"), first, first, b"1"),)


async def test_list_at_an_unwritten_revision_reports_the_newest(log: RevisionLog) -> None:
    revision = await log.put(key("a"), b"1", expected_revision=0)
    with pytest.raises(FutureRevision) as caught:
        await log.list("secrets", revision=revision + 1, limit=None)
    assert caught.value.current == revision


async def test_compaction_keeps_the_list_at_its_revision_and_forgets_what_is_older(log: RevisionLog) -> None:
    first = await log.put(key("a"), b"1", expected_revision=0)
    second = await log.put(key("a"), b"2", expected_revision=first)
    gone = await log.put(key("b"), b"1", expected_revision=0)
    await log.delete(key("b"), expected_revision=gone)
    kept = await log.put(key("c"), b"1", expected_revision=0)
    await log.put(key("a"), b"3", expected_revision=second)
    await log.compact(kept)
    assert await log.compacted_revision() == kept
    assert await names(log, kept) == ["a", "c"]
    with pytest.raises(Compacted) as caught:
        await log.list("secrets", revision=kept - 1, limit=None)
    assert caught.value.oldest == kept
    await log.compact(first)
    assert await log.compacted_revision() == kept


async def test_compaction_of_an_unwritten_revision_is_refused(log: RevisionLog) -> None:
    with pytest.raises(FutureRevision):
        await log.compact(1)


async def test_a_revision_is_not_used_again_after_its_tombstone_was_compacted(log: RevisionLog) -> None:
    revision = await log.put(key("a"), b"1", expected_revision=0)
    deleted = await log.delete(key("a"), expected_revision=revision)
    await log.compact(deleted)
    assert await log.revision() == deleted
    assert await log.put(key("a"), b"1", expected_revision=0) > deleted


async def test_a_value_above_the_limit_is_refused(log: RevisionLog) -> None:
    with pytest.raises(ValueTooLarge, match="4194304"):
        await log.put(key("a"), bytes(4 * 1024 * 1024 + 1), expected_revision=0)
    assert await log.get(key("a")) is None
