"""What a setting may say: an address, labels, a list, a URL; each is read from the text that a file or a flag has.

A reader raises ValueError that says what is accepted, or ConfigurationError where a text may not be repeated.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from skerry.api.names import is_subdomain, label_key_error, label_value_error
from skerry.kit.errors import ConfigurationError

#: What the variables begin with that give settings.
ENVIRONMENT_PREFIX = "SKERRY_"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on; port 0 stands for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `HOST:PORT`, IPv6 hosts in brackets; raises ValueError."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:0")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a machine."""

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Labels":
        """Read `key=value`, with commas between; raises ValueError."""
        labels = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = item.partition("=")
            wrong = label_key_error(key) or label_value_error(value) if equals else "must be KEY=VALUE"
            if wrong:
                raise ValueError(f"{item!r}: {wrong}")
            labels[key] = value
        return cls(tuple(sorted(labels.items())))

    def __str__(self) -> str:
        """Write them as `parse` reads them."""
        return ",".join(f"{key}={value}" for key, value in self.pairs)


def is_cidr(text: str) -> bool:
    """Tell whether a text is an address, or a network such as 10.0.0.0/8."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def is_https_origin(text: str) -> bool:
    """Tell whether a text is https://HOST or https://HOST:PORT, and nothing more."""
    scheme, found, place = text.partition("://")
    host, _, port = place.rpartition(":") if not place.endswith("]") and ":" in place else (place, "", "")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return scheme == "https" and bool(found) and is_host(bare) and (not port or port.isdigit())


def is_host(text: str) -> bool:
    """Tell whether a text is an address, or a name of DNS without a wildcard."""
    return is_subdomain(text) or ("/" not in text and is_cidr(text))


def read_list(text: str) -> tuple[str, ...]:
    """Read items with commas between."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def read_url(text: str) -> str:
    """Read an http(s) URL that names nobody."""
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username is not None:
        raise ValueError("must be an http(s) URL without a user or a password")
    return text


def read_database(text: str) -> str:
    """Check the address of a database; raises ConfigurationError."""
    # None of the messages repeats the text, which may hold a password.
    try:
        parts = urlsplit(text)
        fits = parts.scheme in {"postgresql", "postgres"} or (
            parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1
        )
    except ValueError:
        fits = False
    if not fits:
        raise ConfigurationError(
            "database: must be postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE with its whole path"
        )
    return text


def read_whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError as error:
        raise ValueError("must be a whole number") from error


def read_number(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError as error:
        raise ValueError("must be a number, such as 10 or 0.5") from error


def read_boolean(text: str) -> bool:
    """Read true or false, in any case."""
    if text.lower() not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text.lower() == "true"
