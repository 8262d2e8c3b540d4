"""What the runners of applications share that are processes of this machine: programs, and functions.

The processes end with the agent, and print into files: `logs/<application>/<service>-<instance>.log`.
"""

from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from skerry.agent.member.documents import Application
from skerry.agent.member.instances import Instance
from skerry.agent.member.printed import printed_in
from skerry.agent.member.states import InstanceState
from skerry.agent.member.volumes import Volumes
from skerry.fleet.log_wishes import LogWish
from skerry.kit.clock import Clock
from skerry.kit.files import make_private_directory


@dataclass(frozen=True, slots=True)
class Place:
    """Where processes run.

    Attributes:
        volumes: lays out what they mount.
        log_dir: takes what they print.
        node: this node's name.
        clock: says when they were started.
        executor: for files.
    """

    volumes: Volumes
    log_dir: Path
    node: str
    clock: Clock
    executor: Executor


class ProcessRunner:
    """The part of a runner (`applications.Runner`) that is the same for all processes of this machine."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def printed(
        self, application: Application, state: InstanceState, wish: LogWish, goes_on: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """Yield what an instance prints; see `Runner`."""
        path = self._log(application, state.service, state.name.rpartition(".")[2])
        return printed_in(path, wish, goes_on, self._place.executor)

    async def remove_all_but(self, names: AbstractSet[str]) -> None:
        """Do nothing: processes end with the agent."""

    def _log_for(self, instance: Instance) -> Path:
        """Return the file for what an instance prints, whose folder is there."""
        path = self._log(instance.application, instance.service.name, str(instance.number))
        make_private_directory(path.parent)
        return path

    def _log(self, application: Application, service: str, number: str) -> Path:
        return self._place.log_dir / application.name / f"{service}-{number}.log"
