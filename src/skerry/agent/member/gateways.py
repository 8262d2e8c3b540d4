"""Runs this node's Gateways, while it is to run any: follows its slice, and has an Envoy and engine workers serve it.

Owns when they run. Does not own what they do (`agent.agent`), nor which Gateways are wanted (`replica`). A node that is
to run none starts nothing for them. What was wanted last is served again after a restart, without the control plane.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from skerry.agent.functions import ArtifactSource
from skerry.agent.member.artifacts import NodeArtifacts
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.function_logs import SliceFunctionLogs
from skerry.agent.member.link import CloudLink
from skerry.agent.member.replica import Replica
from skerry.agent.member.slice_link import SliceLink
from skerry.agent.member.slice_log import SliceLog
from skerry.api.model import Document
from skerry.artifacts.folder import FolderKeep
from skerry.client.client import Client
from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError
from skerry.kit.files import make_private_directory
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running

log = get_logger(__name__)

State = Literal["Pending", "Running", "Failed"]

#: Between the end of one answer and the next question.
FOLLOW_SECONDS = 0.1
#: What is told is told again so often, for a control plane that has lost it.
TELL_SECONDS = 300.0
#: Where they can't run, they are started again this often.
RETRY_SECONDS = 30.0

Metrics = Callable[[], Awaitable[bytes]]
"""Tells what the functions count that are served, as text for Prometheus."""

Plane = Callable[[str, Client, ArtifactSource], AbstractAsyncContextManager[Metrics]]
"""Has an Envoy and engine workers serve what a client reads, for the length of a block, under a node's name."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What of this machine Gateways need; `main` puts it together.

    Attributes:
        keep: of code; it is to be opened.
        plane: serves.
        function_logs: the folder of what functions print.
        clock: tells since when of that somebody wants.
    """

    keep: FolderKeep
    plane: Plane
    function_logs: Path
    clock: Clock


class Gateways:
    """The Gateways of one node; `running()` is its life.

    Args:
        replica: says which are wanted.
        slice_log: what they lead to.
        link: follows it.
        start: has it served for the length of a block.
        function_logs: what the functions print that it leads to.
    """

    def __init__(
        self,
        replica: Replica,
        slice_log: SliceLog,
        link: SliceLink,
        start: Callable[[], AbstractAsyncContextManager[Metrics]],
        function_logs: SliceFunctionLogs,
    ) -> None:
        self.function_logs = function_logs
        self._replica = replica
        self._log = slice_log
        self._link = link
        self._start = start
        self._metrics: Metrics | None = None
        self._wakeup = Wakeup()
        self._news = Wakeup()
        self._reached = Wakeup()
        self._state: State = "Pending"
        self._failure = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what is wanted for the length of the block."""
        self._log.on_change(self._wakeup.set)
        self._log.on_change(self._news.set)
        turn = partial(keep_running, "gateways", self._turn, wakeup=self._wakeup, resync_seconds=RETRY_SECONDS)
        async with background(("gateways", turn)):
            yield

    def look(self) -> None:
        """Take notice of what is wanted now."""
        self._wakeup.set()

    def reached(self) -> None:
        """Take notice that the control plane has just answered: it may have been away."""
        self._reached.set()

    def status(self) -> Document:
        """Tell how they are: which are wanted, whether they are served, and why not."""
        return {"names": self._replica.gateways, "state": self._state, "cause": self._failure}

    async def metrics(self) -> bytes:
        """Tell what their functions count, as text for Prometheus: none, where no Gateway is wanted.

        Raises:
            ApplicationError: Gateways are wanted, and not served (yet).
        """
        if self._metrics is not None:
            return await self._metrics()
        if self._replica.gateways:
            raise ApplicationError(f"its Gateways do not run: {self._failure or 'they are being started'}")
        return b""

    async def _turn(self) -> None:
        """Run Gateways for as long as any is wanted."""
        if not self._replica.gateways:
            return
        follow = partial(keep_running, "slice", self._link.follow, wakeup=self._reached, resync_seconds=FOLLOW_SECONDS)
        tell = partial(keep_running, "statuses", self._link.tell, wakeup=self._news, resync_seconds=TELL_SECONDS)
        try:
            async with background(("slice", follow), ("statuses", tell)):
                await self._serve()
        except Exception as error:
            self._state, self._failure = "Failed", error.public if isinstance(error, SkerryError) else repr(error)
            raise
        self._state, self._failure = "Pending", ""
        await self._log.take({}, tuple(self._log.known()))
        await self._link.tell()

    async def _serve(self) -> None:
        """Serve what is here, once anything is, until no Gateway is wanted any more."""
        while self._replica.gateways and not len(self._log):
            await self._wakeup.wait()
        if not self._replica.gateways:
            return
        async with self._start() as metrics:
            self._state, self._failure, self._metrics = "Running", "", metrics
            log.info("gateways run", gateways=self._replica.gateways)
            try:
                while self._replica.gateways:
                    await self._wakeup.wait()
            finally:
                self._metrics = None


@asynccontextmanager
async def joined_gateways(
    machine: Machine, node: str, link: CloudLink, replica: Replica, directory: Path, executor: Executor
) -> AsyncIterator[Gateways]:
    """Run a node's Gateways for the length of the block.

    Args:
        machine: serves them.
        node: its name.
        link: to its control plane.
        replica: says which are wanted.
        directory: for the replica of the slice; made when absent.
        executor: for files.

    Raises:
        StartError: the replica can't be read.
    """
    make_private_directory(directory)
    slice_log = SliceLog(directory / "slice.json", executor)
    async with machine.keep as keep:
        artifacts = NodeArtifacts(keep, link)
        start = partial(machine.plane, node, Client(slice_log), artifacts)
        logs = SliceFunctionLogs(slice_log, machine.function_logs, machine.clock)
        gateways = Gateways(replica, slice_log, SliceLink(link, slice_log, artifacts), start, logs)
        async with gateways.running():
            yield gateways
