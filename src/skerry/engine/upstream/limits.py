"""The bounds of subrequests, all in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much the subrequests of one worker take.

    Attributes:
        connections_max: of all functions together.
        connections_per_origin_max: to one scheme, host and port.
        exchanges_per_function_max: subrequests of one function that have a connection, or a stream of one; so no
            function holds all connections.
        waiting_per_function_max: more of them wait for a connection; any further fails.
        waiting_seconds_max: how long they wait.
        kept_max: connections that are kept without a request.
        kept_seconds_max: how long.
        resolve_seconds_max: for the addresses of a name.
        connect_seconds_max: for one connection, its TLS handshake included.
        head_seconds_max: from the request to the head of the response.
        idle_seconds_max: between two pieces of a body that the function waits for.
        header_bytes_max: of a response, names and values together; of a request likewise.
        headers_max: of a response, and of a request.
        body_bytes_max: of a response, decoded.
    """

    connections_max: int = 512
    connections_per_origin_max: int = 256
    exchanges_per_function_max: int = 128
    waiting_per_function_max: int = 256
    waiting_seconds_max: float = 10.0
    kept_max: int = 128
    kept_seconds_max: float = 60.0
    resolve_seconds_max: float = 10.0
    connect_seconds_max: float = 10.0
    head_seconds_max: float = 120.0
    idle_seconds_max: float = 60.0
    header_bytes_max: int = 64 * 1024
    headers_max: int = 200
    body_bytes_max: int = 1024 * 1024 * 1024
