"""WASI 0.2 as it is offered to components: time, randomness, the environment, standard streams; no files, no sockets.

The interfaces of files and sockets are there to be linked, since the libraries of many languages import them whatever a
program does. Each of their functions answers that access is refused.
"""

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from skerry.engine.components import streams
from skerry.engine.components.guest import Guest, GuestEndedError, Pollable, at_moment
from skerry.engine.components.imports import HostFunction, Interface, Offer
from skerry.engine.components.values import Err
from skerry.engine.errors import CallError, FailureKind

#: One request of random bytes (the Web API allows 65,536).
RANDOM_BYTES_MAX = 64 * 1024
VERSIONS = re.compile(r"0\.2\.\d+")
_NS = 1_000_000_000


def _subscribe_duration(_guest: Guest, duration_ns: int) -> Pollable:
    return at_moment(time.monotonic_ns() + duration_ns)


def _wall_now(_guest: Guest) -> tuple[int, int]:
    return divmod(time.time_ns(), _NS)


def _random_bytes(_guest: Guest, length: int) -> bytes:
    if length > RANDOM_BYTES_MAX:
        message = f"at most {RANDOM_BYTES_MAX} random bytes can be asked for at once"
        raise GuestEndedError(CallError(FailureKind.TRAP, message))
    return os.urandom(length)


def _random_number(_guest: Guest) -> int:
    return int.from_bytes(os.urandom(8), "little")


def _exit(_guest: Guest, status: Any) -> None:
    if isinstance(status, Err) or (isinstance(status, int) and status):
        message = "the function exited with a failure; its log says what it wrote to standard error"
        raise GuestEndedError(CallError(FailureKind.EXCEPTION, message))
    raise GuestEndedError(None)


FUNCTIONS: Mapping[str, Mapping[str, HostFunction]] = {
    **streams.FUNCTIONS,
    "wasi:clocks/monotonic-clock": {
        "now": lambda _guest: time.monotonic_ns(),
        "resolution": lambda _guest: 1,
        "subscribe-instant": lambda _guest, moment_ns: at_moment(moment_ns),
        "subscribe-duration": _subscribe_duration,
    },
    "wasi:clocks/wall-clock": {"now": _wall_now, "resolution": lambda _guest: (0, 1)},
    "wasi:random/random": {"get-random-bytes": _random_bytes, "get-random-u64": _random_number},
    "wasi:random/insecure": {"get-insecure-random-bytes": _random_bytes, "get-insecure-random-u64": _random_number},
    "wasi:random/insecure-seed": {
        "insecure-seed": lambda guest: (_random_number(guest), _random_number(guest)),
        "get-insecure-seed": lambda guest: (_random_number(guest), _random_number(guest)),
    },
    "wasi:cli/environment": {
        "get-environment": lambda guest: list(guest.env.items()),
        "get-arguments": lambda _guest: [],
        "initial-cwd": lambda _guest: None,
    },
    "wasi:cli/exit": {"exit": _exit, "exit-with-code": _exit},
    "wasi:cli/stdin": {"get-stdin": lambda _guest: streams.NoInput()},
    "wasi:cli/stdout": {"get-stdout": lambda _guest: streams.LogOutput(lambda guest: guest.output)},
    "wasi:cli/stderr": {"get-stderr": lambda _guest: streams.LogOutput(lambda guest: guest.errors)},
    "wasi:cli/terminal-input": {},
    "wasi:cli/terminal-output": {},
    "wasi:cli/terminal-stdin": {"get-terminal-stdin": lambda _guest: None},
    "wasi:cli/terminal-stdout": {"get-terminal-stdout": lambda _guest: None},
    "wasi:cli/terminal-stderr": {"get-terminal-stderr": lambda _guest: None},
    "wasi:filesystem/preopens": {"get-directories": lambda _guest: []},
}
_REFUSED_SOCKETS = Interface(VERSIONS, refusal="access-denied")

OFFER: Offer = {
    **{name: Interface(VERSIONS, functions) for name, functions in FUNCTIONS.items()},
    "wasi:filesystem/types": Interface(VERSIONS, {"filesystem-error-code": lambda _guest, _error: None}, "access"),
    **{
        f"wasi:sockets/{name}": _REFUSED_SOCKETS
        for name in ("tcp", "tcp-create-socket", "udp", "udp-create-socket", "ip-name-lookup")
    },
    "wasi:sockets/network": Interface(
        VERSIONS, {"network-error-code": lambda _guest, _error: None}, refusal="access-denied"
    ),
    "wasi:sockets/instance-network": Interface(VERSIONS, {"instance-network": lambda _guest: "network"}),
}
