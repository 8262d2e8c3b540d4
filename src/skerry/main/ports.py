"""Ports before anything starts: a free one for port 0, and a clear error for one that is taken.

Who listens at an address comes up seconds after it was chosen, and again after each of its ends. So the address is held
for as long as it is used: a socket is bound to it that never listens. Linux lets another one of SO_REUSEADDR, as those
of Envoy and of the API are, listen beside it, and gives the port to nobody who asks for any.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.kit.errors import StartError
from skerry.main.setting_values import Address

#: A Skerry that was killed a moment ago may still be on its way out with its Envoy: the kernel ends it at once, but
#: not in no time.
FREE_SECONDS_MAX = 3.0
POLL_SECONDS = 0.05


@asynccontextmanager
async def held_address(address: Address, setting: str) -> AsyncIterator[Address]:
    """Have an address for the length of the block, with port 0 replaced by a free port.

    Whoever listens there comes without a doubt to have it; a taken one is found here, before anything has started.

    Raises:
        StartError: it stayed taken for `FREE_SECONDS_MAX`, or can't be bound at all.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await _bind(holder, address, setting)
        port: int = holder.getsockname()[1]
        yield Address(address.host, port)


async def _bind(holder: socket.socket, address: Address, setting: str) -> None:
    deadline = asyncio.get_running_loop().time() + FREE_SECONDS_MAX
    while True:
        try:
            return holder.bind((address.host, address.port))
        except OSError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise StartError(
                    f"can't listen on {address}: {error.strerror}; stop what does, or set {setting} (port 0: any free)"
                ) from error
        await asyncio.sleep(POLL_SECONDS)
