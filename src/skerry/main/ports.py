"""Ports before anything starts: a free one for port 0, and a clear error for one that is taken."""

import asyncio
import socket

from skerry.kit.errors import StartError
from skerry.main.setting_values import Address

#: A Skerry that was killed a moment ago may still be on its way out with its Envoy: the kernel ends it at once, but
#: not in no time.
FREE_SECONDS_MAX = 3.0
POLL_SECONDS = 0.05


async def free_address(address: Address, setting: str) -> Address:
    """Return an address that could be bound just now, with port 0 replaced by a free port.

    Envoy shares its ports (SO_REUSEPORT), so it would not notice that another process has one already.

    Raises:
        StartError: it stayed taken for `FREE_SECONDS_MAX`, or can't be bound at all.
    """
    deadline = asyncio.get_running_loop().time() + FREE_SECONDS_MAX
    while True:
        try:
            return Address(address.host, _try_bind(address))
        except OSError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise StartError(
                    f"can't listen on {address}: {error.strerror}; stop what does, or set {setting} (port 0: any free)"
                ) from error
        await asyncio.sleep(POLL_SECONDS)


def _try_bind(address: Address) -> int:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.host, address.port))
        port: int = probe.getsockname()[1]
        return port
