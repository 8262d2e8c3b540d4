"""Runs applications as processes of this machine.

A service's program is its `command`, or the `entry` of the program.yml that its program configuration brings. It runs
in a folder of its own, with what it mounts below it, and ends with the agent. Owns these processes and their logs.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

from skerry.agent.member.documents import Application
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.instances import Instance, for_each_instance
from skerry.agent.member.limits import bounds_of, memory_bytes
from skerry.agent.member.probes import Probe, read_probe, watch
from skerry.agent.member.processes import Place, ProcessRunner
from skerry.agent.member.states import InstanceState, States, Status
from skerry.agent.member.usage import TreeUsage
from skerry.api.baetyl_application_services import Service
from skerry.kit.clock import rfc3339
from skerry.kit.processes import Command, Supervised, bound_output, plain_environment, supervise
from skerry.kit.tasks import background, run_blocking

#: Where a program configuration is mounted, below an instance's folder, and what in it names the program.
PROGRAM_FOLDER = Path("var/lib/baetyl/bin")
PROGRAM_FILE = "program.yml"
_PROGRAM_BYTES_MAX = 64 * 1024

#: What is kept of an instance's output; the same again is kept of what was before.
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_LOOK_SECONDS = 10.0
#: From these, a program that asks gets a port that nothing listens on.
DYNAMIC_PORTS = range(50200, 51001)
#: What applications call it.
MODE = "native"
_RESTARTS = {"Never": "never", "OnFailure": "on-failure"}


@dataclass(frozen=True, slots=True)
class _Process:
    """An instance that runs."""

    instance: Instance
    created: str
    process: Supervised
    usage: TreeUsage

    def state(self) -> InstanceState:
        """Tell what it does."""
        process = self.process
        used = self.usage.measured(process.pid)
        status, cause = self._status()
        name, service = self.instance.name, self.instance.service.name
        return InstanceState(
            name, service, status, cause, self.created, used.cpu_cores, used.memory_bytes, process.pid or 0
        )

    def _status(self) -> tuple[Status, str]:
        code, restarts = self.process.exit_code, self.process.restarts
        if self.instance.application.is_job and self.process.pid is None and code is not None:
            return ("Succeeded", "") if code == 0 else ("Failed", _ending(code))
        if self.process.is_healthy:
            return "Running", ""
        if code is not None and restarts:
            return "Failed", f"{_ending(code)}, and it was started again {restarts} times: its log tells more"
        return "Pending", ""


def _ending(code: int) -> str:
    return f"its program was ended by signal {-code}" if code < 0 else f"its program ended with exit code {code}"


@dataclass(frozen=True, slots=True)
class _Program:
    """What is to be started for an instance."""

    instance: Instance
    command: Command
    probe: Probe | None


class Programs(ProcessRunner):
    """Runs applications of mode native, `MODE`."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._ports = _DynamicPorts()

    async def prepared(self, application: Application) -> AbstractAsyncContextManager[States]:
        """Lay out an application's instances, and see that it can run; return what runs it for the length of a block.

        That yields what tells the states of its instances.

        Raises:
            ApplicationError: it can't run here.
        """
        prepare = partial(for_each_instance, application, self._program)
        programs = await run_blocking(self._place.executor, prepare)
        return self._running(programs)

    @asynccontextmanager
    async def _running(self, programs: Sequence[_Program]) -> AsyncIterator[States]:
        async with AsyncExitStack() as stack:
            processes = [await self._start(stack, program) for program in programs]
            looks = partial(self._bound_logs, [program.command.output for program in programs])
            await stack.enter_async_context(background(("agent.logs", looks)))
            yield lambda: [process.state() for process in processes]

    async def _start(self, stack: AsyncExitStack, program: _Program) -> _Process:
        process = await stack.enter_async_context(supervise(program.command))
        if program.probe is not None:
            look = partial(watch, program.probe, program.command, process.stop)
            await stack.enter_async_context(background((f"probe:{program.instance.name}", look)))
        return _Process(program.instance, rfc3339(self._place.clock.now()), process, TreeUsage())

    async def _bound_logs(self, logs: Sequence[Path | None]) -> None:
        while True:
            await asyncio.sleep(LOG_LOOK_SECONDS)
            for path in logs:
                if path is not None:
                    await run_blocking(self._place.executor, partial(bound_output, path, LOG_BYTES_MAX))

    def _program(self, instance: Instance) -> _Program:
        """Lay out an instance, and see that there is a program in it; raises ApplicationError, OSError."""
        application, service = instance.application, instance.service
        user = self._place.volumes.user_of(application.name)
        folder = self._place.volumes.instance_folder(instance)
        restart: Any = _RESTARTS[application.job_config.restart_policy if application.job_config else "Never"]
        command = Command(
            name=f"application:{application.name}",
            arguments=_arguments(service, folder),
            output=self._log_for(instance),
            environment=tuple(self._environment(instance, folder if user else None).items()),
            directory=folder / service.working_dir if service.working_dir else folder,
            bounds=bounds_of(instance, user, data_bytes=memory_bytes(service)),
            inherits=False,
            restart=restart if application.is_job else "always",
            whole_group=True,
        )
        probe = read_probe(service.liveness_probe) if service.liveness_probe else None
        return _Program(instance, command, probe)

    def _environment(self, instance: Instance, home: Path | None) -> dict[str, str]:
        inherited = plain_environment()
        if home is not None:
            inherited["HOME"] = str(home)
        port = {"BAETYL_SERVICE_DYNAMIC_PORT": str(self._ports.next_free())}
        return inherited | port | instance.environment(self._place.node, MODE)


def _arguments(service: Service, folder: Path) -> tuple[str, ...]:
    """Return a service's program and its arguments; raises ApplicationError where there is no such program."""
    arguments = tuple(service.args or ())
    if service.command:
        return (_executable(service.command[0], folder), *service.command[1:], *arguments)
    return (_executable(_entry(folder), folder / PROGRAM_FOLDER), *arguments)


def _entry(folder: Path) -> str:
    path = folder / PROGRAM_FOLDER / PROGRAM_FILE
    try:
        with path.open("rb") as file:
            told = yaml.safe_load(file.read(_PROGRAM_BYTES_MAX))
    except FileNotFoundError as error:
        detail = f"it has no command, and mounts no {PROGRAM_FILE} at /{PROGRAM_FOLDER}"
        raise ApplicationError(detail) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ApplicationError(f"{PROGRAM_FILE} is no YAML") from error
    entry = told.get("entry") if isinstance(told, dict) else None
    if not isinstance(entry, str) or not entry:
        raise ApplicationError(f"{PROGRAM_FILE} has no entry")
    return entry


def _executable(entry: str, folder: Path) -> str:
    path = folder / entry  # an absolute entry stays as it is
    if path.is_file():
        if not os.access(path, os.X_OK):
            raise ApplicationError(f"its program {entry} is not executable")
        return str(path)
    if "/" not in entry and (found := shutil.which(entry)):
        return found
    raise ApplicationError(f"its program {entry} is not there")


class _DynamicPorts:
    """Ports for programs, in turn: one that was given a moment ago is free as long as its program does not listen."""

    def __init__(self) -> None:
        self._turn = cycle(DYNAMIC_PORTS)
        self._lock = Lock()  # programs are laid out on several threads

    def next_free(self) -> int:
        """Return the next port that nothing listens on; raises ApplicationError."""
        for _ in DYNAMIC_PORTS:
            with self._lock:
                port = next(self._turn)
            if _is_free(port):
                return port
        raise ApplicationError("no port is left for another program")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
