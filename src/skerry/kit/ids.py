"""Identifiers: unique ones and short random ones."""

import random
import re
import secrets
import uuid
from typing import Protocol

from skerry.kit.clock import Clock, SystemClock

#: Kubernetes' alphabet for generated names: no vowels, so no words; no 0, 1 or 3, so no mix-ups.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

#: How UUIDs are nearly always written.
_WRITTEN = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class Ids(Protocol):
    """Where ids come from; a test hands in a predictable source."""

    def uid(self) -> str:
        """Return a new unique id: a UUID, which sorts behind those that were made before."""
        ...

    def suffix(self, length: int) -> str:
        """Return `length` random characters of `NAME_ALPHABET`."""
        ...


class RandomIds:
    """Ids from a generator that begins with the operating system's randomness.

    Ids are names, not secrets: asking the system for each one would cost a create a tenth of its time. They begin with
    the time (RFC 9562, version 7): what is named by them and written together lies together in the database, which
    takes a third of the pages, and so of the time, that names in no order take.

    Args:
        clock: tells the time.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._random = random.Random(secrets.randbits(256))  # noqa: S311 - see above

    def uid(self) -> str:
        """Return a new unique id: a UUID, which sorts behind those of milliseconds before."""
        milliseconds, bits = int(self._clock.now().timestamp() * 1000), self._random.getrandbits(74)
        return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{_after_version(bits)}"

    def suffix(self, length: int) -> str:
        """Return `length` random characters of `NAME_ALPHABET`."""
        return "".join(self._random.choices(NAME_ALPHABET, k=length))


def uuid_text(bits: int) -> str:
    """Write 122 random bits as a UUID of version 4 (RFC 9562): a fifth of the time that `uuid.UUID` takes."""
    return f"{bits >> 90:08x}-{bits >> 74 & 0xFFFF:04x}-4{_after_version(bits)}"


def _after_version(bits: int) -> str:
    """Write the last 74 bits of so many, with the variant before the last 62."""
    return f"{bits >> 62 & 0xFFF:03x}-{bits >> 48 & 0x3FFF | 0x8000:04x}-{bits & 0xFFFFFFFFFFFF:012x}"


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID, in any spelling that `uuid.UUID` reads."""
    if _WRITTEN.fullmatch(text):
        return True
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
