"""Telling the service manager how far we are, as sd_notify(3) has it: one datagram to the socket that it named."""

import socket

from skerry.kit.logs import get_logger

log = get_logger(__name__)

READY, STOPPING = "READY=1", "STOPPING=1"


def notify(state: str, address: str) -> None:
    """Tell a service manager a state. One that can't be told is a warning: it does as it does with a silent service.

    Args:
        state: such as READY.
        address: the value of NOTIFY_SOCKET: a path, or "@" and a name without one; "" where nobody wants to know.
    """
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("the service manager can't be told", state=state, reason=str(error))
