"""Contexts of TLS for those who send requests.

To read every authority of the system takes 20 ms and more; a start that did so for each of its clients spent a tenth of
its time there. So who trusts the system's authorities shares one context, and who never speaks TLS takes an empty one
in place of the one that httpx would make.
"""

import ssl
from functools import lru_cache
from pathlib import Path

#: Files with more authorities: a process has one, or none.
FILES_MAX = 8


@lru_cache(maxsize=FILES_MAX)
def system_trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return the context that trusts the system's authorities; shared, so not to be changed.

    Args:
        ca_file: more authorities, PEM; as it is when this process first asks.

    Raises:
        OSError: the file can't be read.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def no_trust() -> ssl.SSLContext:
    """Return a new context that trusts no authority: for plain HTTP, and for who checks certificates in another way."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
