"""How hostnames of listeners and routes meet: `*.example.com` is every host below example.com, `*` is any host."""

from collections.abc import Iterator

ANY = "*"


def covers(pattern: str, host: str) -> bool:
    """Tell whether every request for `host` (itself perhaps a pattern) is one for `pattern`."""
    if pattern in {ANY, host}:
        return True
    return pattern.startswith("*.") and host != ANY and host.removeprefix("*").endswith(pattern[1:])


def intersection(one: str, other: str) -> str | None:
    """Return the hosts that fit both patterns, as a pattern, or None."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def specificity(pattern: str) -> tuple[bool, int]:
    """Rank a pattern: exact hosts above wildcards, then by length; the greater, the more specific."""
    if pattern == ANY:
        return (False, 0)
    return (not pattern.startswith("*."), len(pattern))


def covering(host: str) -> Iterator[str]:
    """Yield every pattern that covers `host`, the most specific first: itself, its wildcards, `*`."""
    if host != ANY:
        yield host
    labels = host.removeprefix("*.").split(".")
    for index in range(0 if host.startswith("*.") else 1, len(labels)):
        pattern = "*." + ".".join(labels[index:])
        if pattern != host:
            yield pattern
    yield ANY
