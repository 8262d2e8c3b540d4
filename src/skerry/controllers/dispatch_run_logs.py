"""What runs print, for whoever follows it while they go on.

Owns the lines of the runs that this process executes; of any other run there is what the log has: the lines of its last
attempt that is over. Lines are told by their place, so who comes back gets what came after it, and nothing twice.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from types import TracebackType
from typing import NamedTuple

from skerry.api.dispatch_v1 import DELETING, Run, is_finished
from skerry.api.errors import TooManyRequests
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.functions.messages import Logs
from skerry.kit.tasks import Wakeup

#: Who follows runs of this process at once.
FOLLOWERS_MAX = 1000
#: So often a follower of a run that prints nothing is told that it still goes on.
SILENCE_SECONDS_MAX = 15.0
RETRY_AFTER_SECONDS = 5


class Place(NamedTuple):
    """How far a follower is: lines of stdout and stderr, of one attempt."""

    attempt: int = 0
    stdout: int = 0
    stderr: int = 0


class LogsPart(NamedTuple):
    """Lines that came, and the place after them; of a run that is over, `state` is how it ended.

    Without lines and without a state, the run goes on and has printed nothing for a while.
    """

    place: Place
    stdout: Sequence[str] = ()
    stderr: Sequence[str] = ()
    state: str = ""


class _LiveLogs(Logs):
    """Lines of an attempt that goes on: for the length of a block, those of its run.

    Args:
        key: of the run.
        attempt: of that run.
        live: where they are found.
        tell: is called with the key when there are more lines.
    """

    def __init__(self, key: Key, attempt: int, live: dict[Key, "_LiveLogs"], tell: Callable[[Key], None]) -> None:
        super().__init__()
        self.attempt = attempt
        self._key = key
        self._live = live
        self._tell = tell

    def __enter__(self) -> Logs:
        self._live[self._key] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._live[self._key]

    def extend(self, stdout: Iterable[str], stderr: Iterable[str]) -> None:
        """Add lines, and wake who follows."""
        super().extend(stdout, stderr)
        self._tell(self._key)


class RunLogFollowing:
    """Has runs followed.

    Args:
        client: reads runs.
        runs: the cache of runs, which tells of changes.
    """

    def __init__(self, client: Client, runs: Informer[Run]) -> None:
        self._client = client
        self._live: dict[Key, _LiveLogs] = {}
        self._followers: dict[Key, set[Wakeup]] = {}
        self._count = 0
        runs.on_change(self._wake)

    def _wake(self, key: Key) -> None:
        for wakeup in self._followers.get(key, ()):
            wakeup.set()

    def attempt(self, key: Key, number: int) -> AbstractContextManager[Logs]:
        """Give what takes the lines of an attempt, for the length of the block."""
        return _LiveLogs(key, number, self._live, self._wake)

    @asynccontextmanager
    async def follow(
        self, namespace: str, run: str, place: tuple[int, int, int]
    ) -> AsyncIterator[AsyncIterator[LogsPart]]:
        """Follow a run from a place on, to its end.

        Raises:
            TooManyRequests: `FOLLOWERS_MAX` follow runs already.
        """
        if self._count >= FOLLOWERS_MAX:
            message = f"{self._count} follow the logs of runs already, and no more than {FOLLOWERS_MAX} may"
            raise TooManyRequests(message, details={"retryAfterSeconds": RETRY_AFTER_SECONDS})
        key, wakeup = (namespace, run), Wakeup()
        followers = self._followers.setdefault(key, set())
        followers.add(wakeup)
        self._count += 1
        try:
            yield self._parts(key, Place(*place), wakeup)
        finally:
            self._count -= 1
            followers.discard(wakeup)
            if not followers:
                self._followers.pop(key, None)

    async def _parts(self, key: Key, place: Place, wakeup: Wakeup) -> AsyncIterator[LogsPart]:
        while True:
            part = await self.after(*key, place)
            place = part.place
            if part.stdout or part.stderr or part.state:
                yield part
            if part.state:
                return
            if not await wakeup.wait(SILENCE_SECONDS_MAX):
                yield LogsPart(place)

    async def after(self, namespace: str, run: str, place: tuple[int, int, int]) -> LogsPart:
        """Return the lines after a place that are there now."""
        place = Place(*place)
        if live := self._live.get((namespace, run)):
            return _part(place, live.attempt, live)
        found = await self._client.find(Run, run, namespace=namespace)
        if found is None:
            return LogsPart(place, state=DELETING)
        status = found.status
        written = Logs(*(status.logs.stdout or (), status.logs.stderr or ()) if status.logs else ())
        # While an attempt goes on, the lines in the log are those of the one before.
        part = _part(place, status.attempts - (status.claim is not None), written)
        return part._replace(state=status.state or "") if is_finished(found) else part


def _part(place: Place, attempt: int, logs: Logs) -> LogsPart:
    if attempt < place.attempt:
        return LogsPart(place)
    if attempt > place.attempt:
        place = Place(attempt)
    now = Place(attempt, len(logs.stdout), len(logs.stderr))
    return LogsPart(now, logs.stdout[place.stdout :], logs.stderr[place.stderr :])
