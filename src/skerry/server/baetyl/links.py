"""The WebSocket links of nodes: what the HTTP link does, in frames, and changes are told before anybody asks.

Owns the open links of this replica: each node has one for each of its agents (`source`), and the newest counts, since
an agent that lost its connection comes back before the old one is known to be gone. Does not own what a report means
(`sync`), what resources are (`delivery`), what a frame looks like (`fleet.frames`), nor who notices two agents with one
identity: each reports once it is connected, and `sync` sees that.

Invariants: every change of what a node is told wakes its link, on the replica that has it, because each follows the
log; a link is known before its first report is looked at, so that no change falls between. What is told then is all
that is wanted, so that nothing told before is needed to understand it.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from prometheus_client import Counter, Gauge

from skerry.api.errors import ApiError, Unauthorized
from skerry.api.model import Document
from skerry.fleet import frames
from skerry.fleet.frames import Frame
from skerry.fleet.reports import SOURCE_INIT, ReportRefused
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running
from skerry.server.baetyl import errors
from skerry.server.baetyl.delivery import Delivery, read_infos
from skerry.server.baetyl.sync import Basis, Sync, Told
from skerry.server.conversations import REPLACED, Closing, Peer, PeerGone, closing_for

log = get_logger(__name__)

Place = tuple[str, str]
"""Namespace and name of a node."""

#: How long a new link may say nothing, and how long one that has reported: more than the longest report interval.
HELLO_SECONDS_MAX = 30.0
SILENCE_SECONDS_MAX = 330.0
#: Changes that are told at once; the others wait, so that a change for a whole fleet leaves room for requests.
PUSHES_MAX = 16
#: As many nodes come back in a second whose links were lost together, as far as they do as they are told: 10,000 report
#: as often.
RELINKS_PER_SECOND = 500
#: So often a link is looked at without a wake-up.
LOOK_SECONDS = 300.0

LINKS = Gauge("skerry_baetyl_links", "Open WebSocket links of nodes at this replica.")
PUSHES = Counter("skerry_baetyl_pushes_total", "Changes that nodes were told over their links without a report.")


class Listener(Protocol):
    """Who waits for the frames of a command."""

    def take(self, frame: Frame) -> None:
        """Take a frame; it does not wait."""
        ...

    def finish(self, reason: str) -> None:
        """Take notice that no more come."""
        ...


@dataclass(eq=False)
class Link:
    """An open link.

    Attributes:
        place: whose it is.
        credential: what the node showed.
        deliver: answers what it asks for.
        source: which of the node's agents it is from; None until it has reported.
        changed: that something else is to be told.
        told: what that followed from which was told last, in an answer or without a report; None for nothing yet.
        listeners: to commands that go on, by their tokens.
    """

    place: Place
    credential: str
    deliver: Callable[[], Delivery]
    peer: Peer
    source: str | None = None
    changed: Wakeup = field(default_factory=Wakeup)
    told: Basis | None = None
    listeners: dict[str, Listener] = field(default_factory=dict)

    async def send(self, frame: Frame) -> None:
        """Send a frame, once there is room for it; raises PeerGone."""
        await self.peer.send(frames.written(frame))


class Links:
    """The open links of this replica.

    Args:
        sync: takes reports, and knows what is wanted.
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._links: dict[Place, dict[str, Link]] = {}
        self._pushing = asyncio.Semaphore(PUSHES_MAX)
        self._open = 0

    def look(self, changed: Iterable[Place]) -> None:
        """Take notice of nodes that are to be told something else."""
        for place in changed:
            for link in self._links.get(place, {}).values():
                link.changed.set()

    def find(self, place: Place) -> Link | None:
        """Return the link to the agent of a node that takes commands; None where this replica has none."""
        links = self._links.get(place, {})
        return next((link for source, link in links.items() if source != SOURCE_INIT), None)

    def statistics(self) -> dict[str, int]:
        """Return how many nodes have a link here."""
        return {"nodes": len(self._links)}

    async def hold(self, place: Place, credential: str, deliver: Callable[[], Delivery], peer: Peer) -> None:
        """Hold a link until it ends; see `Conversation`."""
        link = Link(place, credential, deliver, peer)
        turn = partial(self._push, link)
        telling = partial(keep_running, "baetyl-push", turn, wakeup=link.changed, resync_seconds=LOOK_SECONDS)
        self._open += 1
        with LINKS.track_inprogress():
            try:
                async with background(("baetyl-push", telling)):
                    while True:
                        await self._take(link)
            finally:
                self._open -= 1
                self._forget(link)
                for listener in link.listeners.values():
                    listener.finish("its link was lost")

    async def _take(self, link: Link) -> None:
        """Wait for a frame, and answer it."""
        silence = HELLO_SECONDS_MAX if link.source is None else SILENCE_SECONDS_MAX
        message = await link.peer.receive(silence)
        frame = Frame(frames.ERROR)
        try:
            frame = frames.read_frame(message)
            async with link.peer.admitted():
                answer = await self._answer(link, frame)
        except Unauthorized:
            raise
        except (ReportRefused, ApiError) as error:
            answer = frame.answer(error.public, kind=frames.ERROR, name=link.place[1])
        if answer is not None:
            await link.send(answer)

    async def _answer(self, link: Link, frame: Frame) -> Frame | None:
        match frame.kind:
            case frames.REPORT:
                report, source = _document(frame), frame.meta.get(frames.SOURCE, "")
                await self._join(link, source)
                told_before = link.told
                told = await self._sync.report(link.place, report, source=source, credential=link.credential)
                if link.told is not told_before:
                    link.changed.set()  # a change was told meanwhile, which this answer may be older than
                link.told = told.basis
                return frame.answer(told.changes, **self._meta(told))
            case frames.DESIRE:
                return frame.answer({"values": await link.deliver().values(read_infos(_document(frame)))})
            case frames.COMMAND | frames.DATA:
                # One that nobody waits for any more crossed its farewell.
                if (listener := link.listeners.get(frame.meta.get(frames.TOKEN, ""))) is not None:
                    listener.take(frame)
                return None
            case frames.KEEP_ALIVE:
                return frame.answer(None)
            case _:
                raise errors.invalid(f"frames of the kind {frame.kind[:64]} are not taken here")

    async def _join(self, link: Link, source: str) -> None:
        """Have a link that reports be the one of its agent; what was before is ended."""
        if link.source == source:
            return
        self._forget(link)
        links = self._links.setdefault(link.place, {})
        before, links[source] = links.get(source), link
        link.source = source
        if before is not None:
            log.info("a link of a node takes the place of another", node="/".join(link.place), source=source)
            await before.peer.close(Closing(REPLACED, "another connection of this node took its place"))

    def _forget(self, link: Link) -> None:
        links = self._links.get(link.place, {})
        if link.source is not None and links.get(link.source) is link:
            del links[link.source]
        if not links:
            self._links.pop(link.place, None)

    async def _push(self, link: Link) -> None:
        """Tell a node what is wanted of it, where that is not what it was told last."""
        if link.source is None:
            return
        try:
            async with self._pushing, link.peer.admitted():
                told = await self._sync.wanted(link.place)
            if told.basis is not None and told.basis != link.told:
                link.told = told.basis
                await link.send(Frame(frames.REPORT, self._meta(told), told.changes))
                PUSHES.inc()
        except PeerGone:
            return
        except Unauthorized as error:
            await link.peer.close(closing_for(error))

    def _meta(self, told: Told) -> dict[str, str]:
        """Return what a node is told of its pace: of its reports, and of its return where its link is lost."""
        relink_seconds = math.ceil(self._open / RELINKS_PER_SECOND)
        return {frames.REPORT_SECONDS: str(told.report_seconds), frames.RELINK_SECONDS: str(relink_seconds)}


def _document(frame: Frame) -> Document:
    """Return the content of a frame that must be an object; raises ReportRefused."""
    if not isinstance(frame.content, dict):
        raise ReportRefused(f"the content of a frame of the kind {frame.kind} must be an object")
    return frame.content
