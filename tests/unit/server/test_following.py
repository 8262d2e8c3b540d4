"""A follower takes every change in its place, and begins again where the history is gone or the log is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from skerry.api.errors import Expired, ServiceUnavailable
from skerry.api.rbac_v1 import CLUSTER_ROLE, ClusterRole
from skerry.server.following import Follower, Key
from skerry.server.verbs.moments import Moment
from skerry.server.verbs.requests import Target, WatchOptions
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.watching import Bookmark, Observed, Seen

Script = Sequence[Sequence[Seen] | Exception]


def put(name: str, revision: int, **fields: Any) -> Observed:
    value = orjson.dumps({"metadata": {"name": name}, **fields})
    return Observed("ADDED", Moment(revision, Stored(value, revision), None))


def removed(name: str, revision: int) -> Observed:
    state = Stored(orjson.dumps({"metadata": {"name": name}}), revision)
    return Observed("DELETED", Moment(revision, None, state))


def whole(revision: int) -> Bookmark:
    return Bookmark(revision, ends_initial_events=True)


class Scripted:
    """Plays each script as one watch, in order; the last one stays open."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)

    @asynccontextmanager
    async def watch(self, target: Target, options: WatchOptions) -> AsyncIterator[AsyncIterator[Sequence[Seen]]]:
        assert target.kind is CLUSTER_ROLE
        assert options.initial_events
        script = self._scripts.pop(0)
        if isinstance(script[0], Exception):
            raise script[0]
        yield self._play(script)

    async def _play(self, script: Script) -> AsyncIterator[Sequence[Seen]]:
        for batch in script:
            if isinstance(batch, Exception):
                raise batch
            yield batch
        await asyncio.Event().wait()


class Roles:
    """What was taken, by name."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.follower = Follower(CLUSTER_ROLE, self._take, self._drop)

    def _take(self, role: ClusterRole) -> None:
        self.names.add(role.name)
        if role.name == "defect":
            raise KeyError(role.name)

    def _drop(self, key: Key) -> None:
        self.names.discard(key[1])


@asynccontextmanager
async def following(*scripts: Script) -> AsyncIterator[Roles]:
    roles, verbs = Roles(), Scripted(*scripts)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(roles.follower.run(verbs))
        yield roles
        task.cancel()


async def test_the_present_state_and_then_every_change() -> None:
    script: Script = [[put("a", 1), put("b", 2), whole(5)], [put("c", 6), removed("a", 7)], [Bookmark(9)]]
    async with following(script) as roles:
        await roles.follower.synced()
        await roles.follower.reached(9)
        assert roles.names == {"b", "c"}


async def test_what_went_while_the_history_was_gone_is_dropped_before_the_place_moves() -> None:
    first: Script = [[put("a", 1), put("b", 2), whole(5)], Expired("too old")]
    async with following(first, [[put("b", 2)], [put("c", 8), whole(9)]]) as roles:
        await roles.follower.reached(8)
        assert roles.names == {"b", "c"}


@pytest.mark.parametrize("failure", [ServiceUnavailable("the store is away"), OSError("reset")])
async def test_what_was_taken_stays_while_the_log_is_away(failure: Exception) -> None:
    first: Script = [[put("a", 1), whole(5)], failure]
    async with following(first, [failure], [[put("a", 1), put("b", 8), whole(9)]]) as roles:
        await roles.follower.synced()
        assert "a" in roles.names
        await roles.follower.reached(9)
        assert roles.names == {"a", "b"}


async def test_an_object_that_cannot_be_read_gives_nothing_and_hurts_no_other() -> None:
    script: Script = [[put("a", 1), put("bad", 2, rules="all"), whole(5)], [put("a", 6, rules=7), put("b", 7)]]
    async with following(script) as roles:
        await roles.follower.reached(7)
        assert roles.names == {"b"}


async def test_an_object_that_cannot_be_taken_gives_nothing_and_hurts_no_other() -> None:
    script: Script = [[put("a", 1), put("defect", 2), whole(5)], [put("b", 7)]]
    async with following(script) as roles:
        await roles.follower.reached(7)
        assert roles.names == {"a", "b"}
