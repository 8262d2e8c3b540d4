"""Keeps applications as they are wanted: brings what they need, lays it out, runs them, and tells how they are.

Owns the running applications. Does not own what is wanted (`replica`), nor how one is run (`programs`).

Invariant: an application runs in one version at a time. What a new version needs is all here, and laid out, before the
old one is ended; where that fails the old one goes on, and the failure is told.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from skerry.agent.member.documents import Application
from skerry.agent.member.errors import ApplicationError, LinkError
from skerry.agent.member.replica import APPS, Replica
from skerry.agent.member.staging import Stage
from skerry.agent.member.states import ApplicationState, InstanceState, States
from skerry.agent.member.volumes import Volumes
from skerry.api.model import Document
from skerry.fleet.log_wishes import LogWish
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Loops, Wakeup, keep_running, run_blocking

log = get_logger(__name__)

#: Of one node.
APPLICATIONS_MAX = 1000
#: What is told of an application's specification.
DESCRIBED = ("type", "mode", "workload", "replica", "hostNetwork", "services", "initServices", "volumes")
#: A version that failed is tried again this often, besides after each failure with backoff.
RESYNC_SECONDS = 60.0


class Runner(Protocol):
    """Runs applications of one kind."""

    async def prepared(self, application: Application) -> AbstractAsyncContextManager[States]:
        """See that an application can run, and bring what it lacks; return what runs it for the length of a block.

        Raises ApplicationError, here or at the block's begin, where it can't.
        """
        ...

    def printed(
        self, application: Application, state: InstanceState, wish: LogWish, goes_on: Callable[[], bool]
    ) -> AsyncGenerator[bytes, None]:
        """Yield what an instance printed, and what it prints while it goes on; raises ApplicationError."""
        ...

    async def remove_all_but(self, names: AbstractSet[str]) -> None:
        """Remove what a life of this agent that was killed left running, but of these applications."""
        ...


@dataclass(frozen=True, slots=True)
class _Staged:
    """A version that can run: all that it needs is here."""

    application: Application
    life: AbstractAsyncContextManager[States]


class _Kept:
    """One application that is wanted: what runs of it, and why another version does not."""

    def __init__(self) -> None:
        self.changed = Wakeup()
        self.running: Application | None = None
        self.states: States = list
        #: The version that can't run, and why.
        self.failure: tuple[str, str] | None = None

    def state(self, name: str, wanted: str) -> ApplicationState:
        """Tell how it is."""
        if self.failure is not None and self.failure[0] == wanted:
            return ApplicationState(name, wanted, cause=self.failure[1], instances=self.states())
        if self.running is None:
            return ApplicationState(name, wanted)
        return ApplicationState(name, self.running.version, self.running.workload, instances=self.states())


class Applications:
    """Runs what is wanted; `running()` is its life.

    Args:
        replica: says what is wanted.
        stage: brings what an application needs.
        volumes: whose files go when an application does.
        runners: by the kind of applications.
        executor: for files.
    """

    def __init__(
        self, replica: Replica, stage: Stage, volumes: Volumes, runners: Mapping[str, Runner], executor: Executor
    ) -> None:
        self._replica = replica
        self._stage = stage
        self._volumes = volumes
        self._runners = runners
        self._executor = executor
        self._kept: dict[str, _Kept] = {}
        self._loops = Loops()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run applications for the length of the block; what a restart finds is run without the control plane."""
        wanted = set(self._replica.wanted(APPS))
        for runner in self._runners.values():
            await runner.remove_all_but(wanted)
        await run_blocking(self._executor, partial(self._volumes.remove_all_but, wanted))
        async with self._loops.running():
            self.look()
            yield

    def look(self) -> None:
        """Take notice of what is wanted now."""
        wanted = self._replica.wanted(APPS)
        for name in [*wanted][:APPLICATIONS_MAX]:
            if name in self._kept:
                self._kept[name].changed.set()
            else:
                kept = self._kept[name] = _Kept()
                turn = partial(self._keep, name, kept)
                loop = partial(keep_running, "application", turn, wakeup=kept.changed, resync_seconds=RESYNC_SECONDS)
                self._loops.start(name, loop)
        for name in set(self._kept) - set(wanted):
            self._kept[name].changed.set()  # its loop ends what runs, and then itself

    def taken(self) -> dict[str, str]:
        """Return what this node has taken upon it, by name: versions that run, and of what does not those that shall.

        What it would leave out here, the control plane could not take from it.
        """
        return self._replica.wanted(APPS) | self.versions()

    def versions(self) -> dict[str, str]:
        """Return the versions that run, by name."""
        return {name: kept.running.version for name, kept in self._kept.items() if kept.running is not None}

    def states(self) -> list[ApplicationState]:
        """Tell how each application is."""
        wanted = self._replica.wanted(APPS)
        return [kept.state(name, wanted[name]) for name, kept in sorted(self._kept.items()) if name in wanted]

    def printed(self, name: str, wish: LogWish) -> AsyncGenerator[bytes, None]:
        """Yield what an instance prints, or the first one of an application.

        Raises:
            ApplicationError: there is none of this name, or its log can't be had.
        """
        application, state = self._instance(name)
        instance = state.name

        def goes_on() -> bool:
            return any(each.name == instance for kept in self._kept.values() for each in kept.states())

        return self._runner_of(application).printed(application, state, wish, goes_on)

    def described(self, name: str, host: str) -> Document:
        """Tell all that there is to tell of an application, by its name or that of an instance; no secrets.

        Raises:
            ApplicationError: there is none of this name.
        """
        for state in self.states():
            if name == state.name or any(name == each.name for each in state.instances):
                running = self._kept[state.name].running
                shown = {"services", "init_services", "volumes", "mode", "type", "workload", "replica", "host_network"}
                told = (
                    running.model_dump(mode="json", by_alias=True, exclude_none=True, include=shown) if running else {}
                )
                return {
                    "application": state.name,
                    "wanted": self._wanted(state.name),
                    "running": running.version if running else None,
                    "state": state.document(host),
                    "specification": {name: told[name] for name in DESCRIBED if name in told},
                }
        raise ApplicationError(f"no application and no instance {name[:128]!r} is on this node")

    def _instance(self, name: str) -> tuple[Application, InstanceState]:
        for kept in self._kept.values():
            if kept.running is None:
                continue
            for state in kept.states():
                if name in {state.name, kept.running.name}:
                    return kept.running, state
        raise ApplicationError(f"no instance {name[:128]!r} runs on this node")

    def _wanted(self, name: str) -> str | None:
        return self._replica.wanted(APPS).get(name)

    async def _keep(self, name: str, kept: _Kept) -> None:
        """Run an application, one version after the other, until it is not wanted any more."""
        staged = await self._staged(name, kept)
        while staged is not None:
            staged = await self._run(name, kept, staged)
        if self._wanted(name) is None:
            await run_blocking(self._executor, partial(self._volumes.remove, name))
            if self._wanted(name) is None:  # else it is wanted again: the next turn
                del self._kept[name]
                self._loops.stop(name)

    async def _run(self, name: str, kept: _Kept, staged: _Staged) -> _Staged | None:
        """Run one version; return the next, once all that it needs is here."""
        application = staged.application
        try:
            async with staged.life as states:
                kept.running, kept.states, kept.failure = application, states, None
                log.info("application runs", application=name, version=application.version)
                await run_blocking(self._executor, partial(self._volumes.remove, name, but=application.version))
                await self._forget_unused()
                return await self._next(name, kept, application)
        except ApplicationError as error:
            kept.failure = application.version, error.public
            raise
        except OSError as error:
            kept.failure = application.version, error.strerror or str(error)
            raise
        finally:
            kept.running, kept.states = None, list

    async def _forget_unused(self) -> None:
        """Once all that is wanted runs, let go of what was brought for anything else."""
        if self.versions() == self._replica.wanted(APPS):
            await self._stage.forget_all_but([kept.running for kept in self._kept.values() if kept.running])

    async def _next(self, name: str, kept: _Kept, running: Application) -> _Staged | None:
        """Wait until another version is wanted, and here; None where none is wanted any more."""
        while True:
            await kept.changed.wait(RESYNC_SECONDS)
            wanted = self._wanted(name)
            if wanted is None:
                return None
            if wanted != running.version:
                try:
                    return await self._staged(name, kept)
                except SkerryError as error:  # what runs goes on; the next wake-up, or a minute, tries again
                    log.warning("a version was not brought", application=name, version=wanted, reason=error.public)
                except Exception:
                    log.exception("a version was not brought", application=name, version=wanted)

    async def _staged(self, name: str, kept: _Kept) -> _Staged | None:
        """Bring the version that is wanted; None where none is. Raises ApplicationError, LinkError."""
        version = self._wanted(name)
        if version is None:
            return None
        try:
            application = await self._stage.bring(name, version)
            return _Staged(application, await self._runner_of(application).prepared(application))
        except (ApplicationError, LinkError) as error:
            kept.failure = version, error.public
            raise
        except Exception as error:
            kept.failure = version, f"it can't be brought: {error or type(error).__name__}"
            raise

    def _runner_of(self, application: Application) -> Runner:
        runner = self._runners.get(application.kind)
        if runner is None:
            raise ApplicationError(f"this node does not run applications of {application.kind}")
        return runner
