"""The newest report of each node, and the next one put in its place.

Owns the write. A report is written at once and whole, in place of the very state that it was made from; of what it
wrote itself, a replica remembers as much as the next report needs, so that mostly nothing is read. Where another one
came between, the log says so, and the report is made again from what is there. Does not own what is kept (`sync`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from skerry.api.baetyl_v1alpha1 import NODE_REPORT, NodeReport
from skerry.api.errors import AlreadyExists, Conflict, NotFound
from skerry.api.model import from_document
from skerry.fleet.reports import told_of_core
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

#: How long a report waits for others, so that they are written together: one commit for all, instead of one each.
GATHER_SECONDS = 0.02
#: Nodes whose last report is remembered, some 4 KB each: those that report to one control plane.
REPORTS_REMEMBERED = 20_000
#: Two reports of one node at once are rare: of its two agents, or of two machines that are one node.
RACES_MAX = 5

Place = tuple[str, str]
"""Namespace and name of a node."""


class KeptReports:
    """Replaces reports.

    Args:
        verbs: reads and writes.
    """

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        #: Without what nobody needs to make the next one.
        self._known: OrderedDict[Place, NodeReport] = OrderedDict()
        self._gathered: asyncio.Future[None] | None = None

    async def put(
        self, place: Place, made: Callable[[NodeReport | None], NodeReport], *, needs_whole: bool
    ) -> NodeReport:
        """Put a report in place of a node's last one; return it as it is kept.

        Args:
            place: whose report it is.
            made: makes it of the one before, None for none; it is called again where another report came between.
            needs_whole: whether it needs more of the one before than what that tells of the agent itself.

        Raises:
            ApiError: see `Verbs.record`; also where others came between `RACES_MAX` times.
        """
        await self._others()
        before = None if needs_whole else self._known.pop(place, None)
        for _ in range(RACES_MAX):
            report = made(before or await self.read(place))
            try:
                kept = await self._verbs.record(Target(NODE_REPORT, *place), report)
            except (AlreadyExists, Conflict, NotFound) as error:
                before, last = None, error
            else:
                self._remember(place, kept)
                return kept
        raise last

    async def _others(self) -> None:
        """Wait for the moment at which all reports go on that came in the same `GATHER_SECONDS`."""
        if self._gathered is None:
            loop = asyncio.get_running_loop()
            self._gathered = loop.create_future()
            loop.call_later(GATHER_SECONDS, self._go_on)
        await asyncio.shield(self._gathered)

    def _go_on(self) -> None:
        gathered, self._gathered = self._gathered, None
        if gathered is not None:
            gathered.set_result(None)

    async def read(self, place: Place) -> NodeReport | None:
        """Return a node's last report, whole; None for none."""
        try:
            return from_document(NodeReport, (await self._verbs.get(Target(NODE_REPORT, *place))).document)
        except NotFound:
            return None

    def _remember(self, place: Place, kept: NodeReport) -> None:
        self._known[place] = kept.model_copy(update={"report": told_of_core(kept.report)})
        if len(self._known) > REPORTS_REMEMBERED:
            self._known.popitem(last=False)
