"""Identifiers: unique ones and short random ones."""

import random
import secrets
import uuid
from typing import Protocol

#: Kubernetes' alphabet for generated names: no vowels, so no words; no 0, 1 or 3, so no mix-ups.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Ids(Protocol):
    """Where ids come from; a test hands in a predictable source."""

    def uid(self) -> str:
        """Return a new unique id (a UUID, version 4)."""
        ...

    def suffix(self, length: int) -> str:
        """Return `length` random characters of `NAME_ALPHABET`."""
        ...


class RandomIds:
    """Ids from a generator that begins with the operating system's randomness.

    Ids are names, not secrets: asking the system for each one would cost a create a tenth of its time.
    """

    def __init__(self) -> None:
        self._random = random.Random(secrets.randbits(256))  # noqa: S311 - see above

    def uid(self) -> str:
        """Return a new unique id (a UUID, version 4)."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def suffix(self, length: int) -> str:
        """Return `length` random characters of `NAME_ALPHABET`."""
        return "".join(self._random.choices(NAME_ALPHABET, k=length))
