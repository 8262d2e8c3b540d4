"""Bringing every value under the newest key, and telling which key holds how many.

A rotation is a new key and a pass over all values, history included. Nothing but the keys themselves says that one is
under way: while there is more than one key, passes are made, and a pass ends by removing the keys that nothing needs
any more. So a process that is killed at any moment goes on where it stopped, by starting again.

A pass changes how values lie in the database and nothing else: no revision is made, and no watcher hears of it.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, keep_running
from skerry.store.driver import HeldValues
from skerry.store.errors import Undecryptable
from skerry.store.records import HeldValue, Key, Rewrite
from skerry.store.sealing.driver import IsConfidential
from skerry.store.sealing.envelope import Sealer, is_plain, key_id_of
from skerry.store.sealing.keys import KeyInfo, KeyProvider

log = get_logger(__name__)

#: Values of one transaction of a pass: some milliseconds, so that writers are not held up for long.
BATCH_VALUES = 200
#: Values that can't be decrypted which are told by name; all of them are counted.
UNDECRYPTABLE_NAMED_MAX = 20
#: How often a pass is made again that could not remove every older key.
RETRY_SECONDS = 600.0


@dataclass(slots=True)
class Census:
    """What lies in the database, as one walk over it finds it.

    Attributes:
        objects: present objects by the id of the key that seals them; confidential ones in plain text under "".
        values: likewise all their states, history included.
        undecryptable: why values can't be decrypted, at most `UNDECRYPTABLE_NAMED_MAX` of them.
        undecryptable_count: how many.
    """

    objects: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    undecryptable: list[str] = field(default_factory=list)
    undecryptable_count: int = 0

    def note(self, error: Undecryptable) -> None:
        """Count a value that can't be decrypted."""
        self.undecryptable_count += 1
        if len(self.undecryptable) < UNDECRYPTABLE_NAMED_MAX:
            self.undecryptable.append(error.public)


class Resealer:
    """Rotates keys.

    Args:
        held: the values as they lie in the database.
        provider: the keys.
        sealer: over the same keys; what has been read before stays readable to it when a key is removed.
        is_confidential: of which resources values are sealed.
    """

    def __init__(
        self, held: HeldValues, provider: KeyProvider, sealer: Sealer, is_confidential: IsConfidential
    ) -> None:
        self._held = held
        self._provider = provider
        self._sealer = sealer
        self._is_confidential = is_confidential
        self._wakeup = Wakeup()

    def known_keys(self) -> Sequence[KeyInfo]:
        """Return the keys, the newest last."""
        return self._provider.known_keys()

    async def rotate(self) -> str:
        """Make a new key and have everything brought under it; returns its id at once.

        Raises:
            KeyUnavailable: earlier rotations have not ended, and the provider takes no more keys.
        """
        key_id = await self._provider.add()
        log.info("made an encryption key", key=key_id)
        self._wakeup.set()
        return key_id

    async def run(self) -> None:
        """End every rotation that was begun, for ever."""
        await keep_running("store.resealing", self.turn, wakeup=self._wakeup, resync_seconds=RETRY_SECONDS)

    async def turn(self) -> None:
        """Make a pass if there is more than one key."""
        *older, newest = [key.id for key in self._provider.known_keys() if not key.unused]
        if not older:
            return
        # Whatever was sealed under an older key is in the log when this returns: the walk below will see it.
        await self._held.rewrite(())
        needed, count = await self._reseal()
        unneeded = [key_id for key_id in older if key_id not in needed]
        if unneeded:
            await self._provider.remove(unneeded)
        log.info("re-encrypted under the newest key", key=newest, values=count, removed_keys=unneeded)
        if needed:
            log.error("values can't be decrypted, so their keys are kept", keys=sorted(needed))

    async def _reseal(self) -> tuple[set[str], int]:
        """Bring values under the newest key; return the keys of those that could not be, and the number of others."""
        needed, count = set[str](), 0
        async for batch in self._batches():
            rewrites = []
            for held in batch:
                try:
                    if (value := await self._in_its_form(held)) is not held.value:
                        rewrites.append(Rewrite(held, value))
                except Undecryptable:
                    needed.add(key_id_of(held.value))
            if rewrites:
                await self._held.rewrite(rewrites)
                count += len(rewrites)
        return needed, count

    async def _in_its_form(self, held: HeldValue) -> bytes:
        """Return a value as it has to lie there: the very same one where it does already."""
        if not self._is_confidential(held.key.resource):
            return await self._sealer.open(held.key, held.value)
        if key_id_of(held.value) == self._provider.known_keys()[-1].id:
            return held.value
        return await self._sealer.seal(held.key, await self._sealer.open(held.key, held.value))

    async def census(self) -> Census:
        """Count what lies in the database, and try to decrypt all of it."""
        found = Census()
        async for batch in self._batches():
            for held in batch:
                if is_plain(held.value) and not self._is_confidential(held.key.resource):
                    continue
                try:
                    await self._sealer.open(held.key, held.value)
                except Undecryptable as error:
                    found.note(error)
                key_id = key_id_of(held.value)
                found.values[key_id] += 1
                found.objects[key_id] += held.current
        return found

    async def undecryptable(self) -> list[tuple[Key, int]]:
        """Return the present entries that can't be decrypted, each with its revision."""
        found = []
        async for batch in self._batches():
            for held in batch:
                try:
                    await self._sealer.open(held.key, held.value)
                except Undecryptable:
                    if held.current:
                        found.append((held.key, held.revision))
        return found

    async def _batches(self) -> AsyncIterator[Sequence[HeldValue]]:
        """Walk over all values, oldest first."""
        after = 0
        while batch := await self._held.values_after(after, limit=BATCH_VALUES):
            yield batch
            after = batch[-1].revision
