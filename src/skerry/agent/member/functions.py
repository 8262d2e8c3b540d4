"""Runs function applications: handlers of Python and Node.js, in processes of `skerry.functions`.

A service has a pool of processes, of which one is started, and has loaded every function, before the version before
ends. Further ones come with calls, up to `CALLS_MAX` for each instance that the service is to have, and go when they
are idle, or when too many are on this node. What a function prints is in its service's log. The control plane says
which functions there are, in the configuration at etc/baetyl/conf.yml, and where their code is: var/lib/baetyl/code.

A process is told `{"bytes": BASE64}` or `{"json": any}`, the event, and answers likewise, or `{}` for nothing.
"""

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from skerry.agent.member.documents import Application
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.function_front import FunctionFront
from skerry.agent.member.function_programs import (
    CODE_PATH,
    CONFIG_PATH,
    function_program,
    read_functions,
    write_entry,
)
from skerry.agent.member.instances import Instance, count_of, for_each_service
from skerry.agent.member.processes import Place, ProcessRunner
from skerry.agent.member.states import InstanceState, States
from skerry.agent.member.usage import TreeUsage
from skerry.api.baetyl_application_services import Service
from skerry.functions import InvocationError
from skerry.functions.local.pool import InstancePool, PoolSettings
from skerry.functions.local.process import FunctionProcess, Program
from skerry.functions.local.warm import WarmInstances
from skerry.functions.messages import Logs, logs_of
from skerry.kit.clock import rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.processes import bound_output
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)

#: What applications call it.
TYPE = "function"
#: At once, for each instance that a service is to have.
CALLS_MAX = 4
#: Of what a service's functions print; the same again is kept of what was before.
LOG_BYTES_MAX = 10 * 1024 * 1024
_SAID_CHARACTERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A service that is to run."""

    instance: Instance
    functions: tuple[str, ...]
    program: Program
    log: Path


@dataclass(eq=False)
class _Service:
    """A service that runs."""

    wanted: _Wanted
    created: str
    executor: Executor
    warm: WarmInstances
    pool: InstancePool = field(init=False)
    processes: dict[FunctionProcess, TreeUsage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        application, service = self.wanted.instance.application, self.wanted.instance.service
        settings = PoolSettings(processes_max=CALLS_MAX * count_of(application, service))
        self.pool = InstancePool(self._start, settings, self.warm)

    async def _start(self) -> FunctionProcess:
        process = await FunctionProcess.start(self.wanted.program)
        self.processes = {each: usage for each, usage in self.processes.items() if each.is_alive}
        self.processes[process] = TreeUsage()
        return process

    @property
    def functions(self) -> tuple[str, ...]:
        """Their names; see `CalledService`."""
        return self.wanted.functions

    async def call(self, context: Mapping[str, str], event: bytes) -> bytes:
        """Call a function; see `CalledService`."""
        told: dict[str, Any] = dict(context)
        try:
            output: Any = await self.pool.run(told, _event(event))
        finally:
            await self._write_down(logs_of(told))
        if "bytes" in output:
            return base64.b64decode(output["bytes"])
        return json.dumps(output["json"]).encode() if "json" in output else b""

    async def _write_down(self, logs: Logs) -> None:
        try:
            await run_blocking(self.executor, partial(_write_down, self.wanted.log, logs))
        except OSError as error:  # the call is answered all the same
            reason = error.strerror or str(error)
            log.warning("what a function printed is lost", service=self.wanted.instance.name, reason=reason)

    def state(self) -> InstanceState:
        """Tell what it does."""
        alive = {each: usage for each, usage in self.processes.items() if each.is_alive}
        used = [usage.measured(each.pid) for each, usage in alive.items()]
        name, service = self.wanted.instance.name, self.wanted.instance.service.name
        cores, memory = sum(each.cpu_cores for each in used), sum(each.memory_bytes for each in used)
        pid = next((each.pid for each in alive), 0)
        return InstanceState(name, service, "Running", "", self.created, cores, memory, pid)


class Functions(ProcessRunner):
    """Runs applications of type function, whatever their mode is.

    Args:
        place: where.
        front: where they are called.
        warm: bounds the processes of all of them that wait for a call; the caller closes it.
    """

    def __init__(self, place: Place, front: FunctionFront, warm: WarmInstances) -> None:
        super().__init__(place)
        self._front = front
        self._warm = warm

    async def prepared(self, application: Application) -> AbstractAsyncContextManager[States]:
        """See that an application's functions load; return what runs it for the length of a block.

        That yields what tells the states of its services.

        Raises:
            ApplicationError: it can't run here.
        """
        self._front.require_free(application.name, [service.name for service in application.services])
        prepare = partial(for_each_service, application, partial(self._wanted, application))
        wanted = await run_blocking(self._place.executor, prepare)
        await self._front.open()
        created = rfc3339(self._place.clock.now())
        services = [_Service(each, created, self._place.executor, self._warm) for each in wanted]
        try:
            for service in services:
                await _load(service)
        except BaseException:
            await _close(services)
            raise
        return self._running(application, services)

    @asynccontextmanager
    async def _running(self, application: Application, services: Sequence[_Service]) -> AsyncIterator[States]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(_close, services)
            by_name = {service.wanted.instance.service.name: service for service in services}
            await stack.enter_async_context(self._front.serving(application.name, by_name))
            yield lambda: [service.state() for service in services]

    def _wanted(self, application: Application, service: Service) -> _Wanted:
        """Lay out a service, and see what its functions are; raises ApplicationError, OSError."""
        instance = Instance(application, service, 0)
        user = self._place.volumes.user_of(application.name)
        folder = self._place.volumes.instance_folder(instance)
        functions = read_functions(folder / CONFIG_PATH)
        program = function_program(instance, folder, user)
        write_entry(program.folder, folder / CODE_PATH, functions)
        variables = {**program.environment, **instance.environment(self._place.node, application.mode)}
        names = tuple(each.name for each in functions)
        whole = replace(program, folder=folder, environment=variables)
        return _Wanted(instance, names, whole, self._log_for(instance))


async def _load(service: _Service) -> None:
    """Start the first process; raises ApplicationError where a function does not load."""
    try:
        await service.pool.warm()
    except InvocationError as error:
        said = error.message[:_SAID_CHARACTERS_MAX]
        raise ApplicationError(f"service {service.wanted.instance.service.name}: {said}") from error


async def _close(services: Sequence[_Service]) -> None:
    for service in services:
        await service.pool.close()


def _event(body: bytes) -> dict[str, Any]:
    """Write an event as a function process reads it: JSON where the body is."""
    try:
        return {"json": json.loads(body)}
    except (ValueError, RecursionError):  # the latter for what is nested too deeply to be read
        return {"bytes": base64.b64encode(body).decode()}


def _write_down(path: Path, logs: Logs) -> None:
    """Add what a function printed to its service's log."""
    lines = [*logs.stdout, *logs.stderr]
    if lines:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.writelines(f"{line}\n" for line in lines)
        bound_output(path, LOG_BYTES_MAX)
