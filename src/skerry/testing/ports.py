"""Ports of loopback that stay a test's own while nobody listens there, as between two lives of a server."""

import socket


def own_port() -> int:
    """Return a port that nobody else is given for as long as this process lives.

    A socket is bound to it that never listens. Whoever listens there with SO_REUSEADDR, as servers do, may do so beside
    it, and the kernel gives the port to none of those who ask for any, as every connection does.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        holder.detach()  # open to the process's end
    return port
