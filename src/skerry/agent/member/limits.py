"""What an instance of a service may use of this machine: what its application asks for, and what this node allows."""

import math
import os
import resource
from collections.abc import Callable
from typing import TypeVar
from zlib import crc32

from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.instances import Instance
from skerry.agent.member.users import User
from skerry.api.baetyl_application_services import Service
from skerry.api.quantities import parse_amount, parse_bytes
from skerry.kit.processes import Bounds

#: Open files of a process, where this machine lets it have so many.
FILES_MAX = 65536
#: Processes and threads of an application.
PROCESSES_MAX = 4096

T = TypeVar("T")


def memory_bytes(service: Service) -> int | None:
    """Return the most memory that an instance may have; None for no limit. Raises ApplicationError."""
    return _limit(service, "memory", parse_bytes)


def cpu_cores(service: Service) -> float | None:
    """Return the most processors that an instance may use; None for no limit. Raises ApplicationError."""
    amount = _limit(service, "cpu", parse_amount)
    return None if amount is None else float(amount)


def _limit(service: Service, name: str, parse: Callable[[str], T]) -> T | None:
    text = ((service.resources.limits if service.resources else None) or {}).get(name)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise ApplicationError(f"resources.limits.{name} {error}") from error


def allowed(limit: int, most: int) -> int:
    """Return the value of an rlimit: `most`, or what this process may give where that is less."""
    hard = resource.getrlimit(limit)[1]
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def bounds_of(instance: Instance, user: User | None, *, data_bytes: int | None) -> Bounds:
    """Return what the processes of an instance may have; raises ApplicationError.

    Args:
        instance: says what it asks for.
        user: that they run as; of a user's own, processes can be counted.
        data_bytes: their memory, as `RLIMIT_DATA`; None for no limit.
    """
    limits = {"RLIMIT_NOFILE": allowed(resource.RLIMIT_NOFILE, FILES_MAX), "RLIMIT_CORE": 0}
    if user is not None:
        limits["RLIMIT_NPROC"] = allowed(resource.RLIMIT_NPROC, PROCESSES_MAX)
    if data_bytes is not None:
        limits["RLIMIT_DATA"] = data_bytes
    return Bounds(tuple(limits.items()), _processors_of(instance), user)


def _processors_of(instance: Instance) -> tuple[int, ...]:
    """Return the processors that a program runs on by its limit; none for all. Raises ApplicationError.

    A process has no limit of its share of the processors but which they are, so it is whole ones. Programs are spread
    over them by their names.
    """
    cores, here = cpu_cores(instance.service), sorted(os.sched_getaffinity(0))
    if cores is None or (wanted := max(1, math.ceil(cores))) >= len(here):
        return ()
    first = crc32(instance.name.encode()) % len(here)
    return tuple(here[(first + offset) % len(here)] for offset in range(wanted))
