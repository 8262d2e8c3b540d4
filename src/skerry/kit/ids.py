"""Identifiers: unique ones and short random ones."""

import random
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
    """Ids from the operating system's randomness."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def uid(self) -> str:
        """Return a new unique id (a UUID, version 4)."""
        return str(uuid.uuid4())

    def suffix(self, length: int) -> str:
        """Return `length` random characters of `NAME_ALPHABET`."""
        return "".join(self._random.choices(NAME_ALPHABET, k=length))
