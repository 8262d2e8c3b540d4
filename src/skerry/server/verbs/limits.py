"""Bounds of what goes into the log, whichever door it comes through."""

from skerry.api.errors import RequestEntityTooLarge

#: The largest body and the largest stored object. etcd's own bound is 1.5 MiB; Kubernetes names this one.
OBJECT_BYTES_MAX = 3 * 1024 * 1024


def too_large() -> RequestEntityTooLarge:
    """A body or object is over `OBJECT_BYTES_MAX`."""
    return RequestEntityTooLarge(f"Request entity too large: limit is {OBJECT_BYTES_MAX}")
