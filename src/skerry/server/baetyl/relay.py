"""Commands to nodes whose link another replica has: through the log, which is all that replicas share.

A command is an object. Its two sides write it in turns: the replica that has the link writes a part of the answer, and
the one that was asked that it was read. So there is one part on its way at a time, no faster than it is read, and no
write meets another. The log keeps it encrypted. Either side gives up when the other has not written for a while, and
the object goes with the command; what a crash left is removed by whoever sees that it is old.
"""

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

from skerry.api.baetyl_node_commands import NODE_COMMAND, NodeCommand, NodeCommandSpec, NodeCommandStatus
from skerry.api.errors import ApiError, Conflict, NotFound
from skerry.api.model import ObjectMeta
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.deadlines import within
from skerry.kit.ids import Ids
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Loops, background
from skerry.server.baetyl.commands import FAILED, NOT_LINKED, Command, Commands
from skerry.server.baetyl.delivery import Place
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.links import Links
from skerry.server.following import Follower, Key
from skerry.server.verbs.requests import DeleteOptions, Target
from skerry.server.verbs.verbs import Verbs

log = get_logger(__name__)

#: Commands that this replica takes from others at once.
RELAYED_MAX = 64
#: How long the replica that has the link may take to say so; each hears of the command within milliseconds.
TAKEN_SECONDS_MAX = 3.0
#: How long one side waits for the other, and after which a command that nobody wrote is removed.
TURN_SECONDS_MAX = 60.0
LEFT = dt.timedelta(minutes=10)
#: So often an empty part is written of a node that has nothing to say.
SILENCE_SECONDS_MAX = 20.0
#: Of one part: what has come while the part before was read.
PART_BYTES_MAX = 256 * 1024


class Relay:
    """Asks nodes, wherever their link is; `running()` is its life.

    Args:
        verbs: read and write commands.
        links: of this replica.
        clock: tells what was left.
        ids: name commands, and this replica.
        is_shared: whether there may be other replicas.
    """

    def __init__(self, verbs: Verbs, links: Links, clock: Clock, ids: Ids, *, is_shared: bool) -> None:
        self._verbs = verbs
        self._links = links
        self._commands = Commands(links)
        self._clock = clock
        self._ids = ids
        self._is_shared = is_shared
        self._name = ids.uid()
        self._known: dict[Key, NodeCommand] = {}
        self._changed: dict[Key, asyncio.Event] = {}
        self._serving: set[Key] = set()
        self._loops = Loops()
        self._follower = Follower(NODE_COMMAND, self._put, self._drop)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take commands of other replicas for the length of the block."""
        if not self._is_shared:
            yield
            return
        following = background(("node-commands", partial(self._follower.run, self._verbs)))
        async with self._loops.running(), following:
            await self._follower.synced()
            yield

    @asynccontextmanager
    async def run(self, place: Place, command: Command) -> AsyncIterator[AsyncIterator[bytes]]:
        """Have a node do something for the length of the block; see `Commands.run`."""
        if not self._is_shared or self._links.find(place) is not None:
            async with self._commands.run(place, command) as parts:
                yield parts
            return
        key = await self._asked(place, command)
        try:
            await self._begun(key, place)
            async with aclosing(self._parts(key)) as told:
                yield told
        finally:
            await self._remove(key)

    async def _asked(self, place: Place, command: Command) -> Key:
        """Make a command that another replica takes."""
        content = command.content if isinstance(command.content, dict) else None
        asked = NodeCommand(
            api_version=NODE_COMMAND.api_version,
            kind=NODE_COMMAND.kind,
            metadata=ObjectMeta(name=f"relayed-{self._ids.uid()}", namespace=place[0]),
            spec=NodeCommandSpec.model_construct(
                node=place[1], command=command.name, meta=dict(command.meta), content=content, follows=command.follows
            ),
            status=NodeCommandStatus(time=rfc3339(self._clock.now())),
        )
        self._put(await self._verbs.record(Target(NODE_COMMAND, asked.namespace, asked.name), asked))
        return asked.namespace, asked.name

    async def _begun(self, key: Key, place: Place) -> None:
        """Wait until the replica that has the link has begun; raises BaetylError."""
        try:
            await self._until(key, lambda seen: bool(seen.status.holder), TAKEN_SECONDS_MAX)
            seen = await self._until(key, _goes_on_after(0), TURN_SECONDS_MAX)
        except TimeoutError as error:
            raise BaetylError(
                NOT_LINKED, f"The node ({place[1]}) has no WebSocket link to any replica, so it takes no commands."
            ) from error
        if not seen.status.part and seen.status.end:
            raise BaetylError(FAILED, seen.status.end)

    async def _parts(self, key: Key) -> AsyncGenerator[bytes, None]:
        """Yield what the other replica writes, and say that it was read; raises BaetylError."""
        read = 0
        while True:
            try:
                seen = await self._until(key, _goes_on_after(read), TURN_SECONDS_MAX)
            except TimeoutError as error:
                raise BaetylError(FAILED, "The replica that has the node's link is silent.") from error
            if seen.status.part > read:
                read = seen.status.part
                if data := base64.b64decode(seen.status.data or ""):
                    yield data
                if seen.status.end is None:
                    await self._write(key, read=read)
            elif seen.status.end:
                raise BaetylError(FAILED, seen.status.end)
            else:
                return

    async def _serve(self, key: Key, command: NodeCommand) -> None:
        """Do what another replica was asked for; never raises."""
        place, spec = (command.namespace, command.spec.node), command.spec
        try:
            await self._write(key, holder=self._name)
            asked = Command(spec.command, spec.meta or {}, spec.content, follows=spec.follows)
            async with self._commands.run(place, asked) as parts:
                await self._hand_on(key, parts)
            await self._write(key, end="")
        except (Conflict, NotFound):
            return  # another took it, or who asked is gone
        except TimeoutError:
            log.info("who asked a node is silent", node="/".join(place))
            with suppress(ApiError):  # else it is removed as what a crash left
                await self._remove(key)
        except ApiError as error:
            with suppress(ApiError):
                await self._write(key, end=error.public)
        except Exception:
            log.exception("a command to a node failed", node="/".join(place))
        finally:
            self._serving.discard(key)
            self._loops.stop("/".join(key))

    async def _hand_on(self, key: Key, parts: AsyncIterator[bytes]) -> None:
        """Write what a node prints, a part after the other; an empty one where there is nothing to say for a while."""
        number = await self._hand(key, 0, b"")
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            coming = group.create_task(_next(parts))
            try:
                while True:
                    while not (await asyncio.wait({coming}, timeout=SILENCE_SECONDS_MAX))[0]:
                        number = await self._hand(key, number, b"")
                    if not isinstance(part := coming.result(), bytes):
                        failure = part
                        break
                    for start in range(0, len(part), PART_BYTES_MAX):
                        number = await self._hand(key, number, part[start : start + PART_BYTES_MAX])
                    coming = group.create_task(_next(parts))
            except (ApiError, TimeoutError) as error:  # raised again below, outside of the group that would wrap it
                failure = error
                coming.cancel()
        if failure is not None:
            raise failure

    async def _hand(self, key: Key, number: int, data: bytes) -> int:
        """Write the next part, and wait until it was read; return its number. Raises TimeoutError, ApiError."""
        number += 1
        await self._write(key, part=number, data=base64.b64encode(data).decode())
        await self._until(key, lambda seen: seen.status.read >= number, TURN_SECONDS_MAX)
        return number

    async def _until(self, key: Key, holds: Callable[[NodeCommand], bool], seconds: float) -> NodeCommand:
        """Wait until a command is so; raises TimeoutError, and NotFound where it is gone."""
        with within(seconds):
            while True:
                seen = self._known.get(key)
                if seen is None:
                    raise NotFound("the command was removed")
                if holds(seen):
                    return seen
                changed = self._changed.setdefault(key, asyncio.Event())
                changed.clear()
                await changed.wait()

    async def _write(self, key: Key, **status: Any) -> None:
        """Take a turn; raises NotFound, Conflict."""
        seen = self._known.get(key)
        if seen is None:
            raise NotFound("the command was removed")
        told = seen.status.model_copy(update={**status, "time": rfc3339(self._clock.now())})
        metadata = seen.metadata.model_copy()
        self._put(
            await self._verbs.record(
                Target(NODE_COMMAND, *key), seen.model_copy(update={"status": told, "metadata": metadata})
            )
        )

    async def _remove(self, key: Key) -> None:
        with suppress(NotFound):
            await self._verbs.delete(Target(NODE_COMMAND, *key), DeleteOptions())

    def _put(self, command: NodeCommand) -> None:
        key = (command.namespace, command.name)
        before = self._known.get(key)
        if before is not None and _revision(before) >= _revision(command):
            return
        self._known[key] = command
        if key in self._changed:
            self._changed[key].set()
        if not command.status.holder and command.status.end is None:
            self._look(key, command)

    def _look(self, key: Key, command: NodeCommand) -> None:
        """Take a command to a node whose link is here; remove what a crash left."""
        age = self._clock.now() - from_rfc3339(command.status.time or command.metadata.creation_timestamp or "")
        if age > LEFT:
            self._start(key, partial(self._sweep, key))
        elif self._links.find((command.namespace, command.spec.node)) is not None:
            self._start(key, partial(self._serve, key, command))

    def _start(self, key: Key, work: Callable[[], Awaitable[None]]) -> None:
        if key not in self._serving and len(self._serving) < RELAYED_MAX:
            self._serving.add(key)
            self._loops.start("/".join(key), work)

    async def _sweep(self, key: Key) -> None:
        with suppress(ApiError):
            await self._remove(key)
        self._serving.discard(key)
        self._loops.stop("/".join(key))

    def _drop(self, key: Key) -> None:
        self._known.pop(key, None)
        if (changed := self._changed.pop(key, None)) is not None:
            changed.set()


def _goes_on_after(read: int) -> Callable[[NodeCommand], bool]:
    return lambda seen: seen.status.part > read or seen.status.end is not None


def _revision(command: NodeCommand) -> int:
    return int(command.metadata.resource_version or 0)


async def _next(parts: AsyncIterator[bytes]) -> bytes | ApiError | None:
    """Return the next part, None at the end, or why there is none."""
    try:
        return await anext(parts, None)
    except ApiError as error:
        return error
