"""Keys and values of functions: what every store of them promises, and the limits of what it takes.

Owns the limits, and that what is over one is refused before a store is asked. Does not own what functions see of it
(`web/kv.js`) or who may use it. What `put` and `delete` did when they returned is on disk. Each function has a
namespace of its own, so none sees another's keys. A node has a file of its own (`key_value_file`); where nodes share a
database, its workers ask for what is in that (`shared_key_values`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError

KEY_BYTES_MAX = 512
VALUE_BYTES_MAX = 10 * 1024 * 1024
METADATA_BYTES_MAX = 1024
#: Of one namespace, values with their keys and metadata.
NAMESPACE_BYTES_MAX = 1024 * 1024 * 1024
LIST_KEYS_MAX = 1_000
#: How long an operation waits for others' writes, of its own process and of another.
BUSY_SECONDS_MAX = 5.0

#: Above every key: UTF-8 has no such byte.
_END = b"\xff"


class KeyValueError(SkerryError):
    """An operation that is refused, or that could not be done; nothing has changed."""


class Value(NamedTuple):
    """A stored value, with its metadata as JSON text."""

    value: bytes
    metadata: str | None


class Listed(NamedTuple):
    """A key of a list, with its metadata as JSON text and when it ends (seconds since the epoch)."""

    key: str
    metadata: str | None
    expires: float | None


class Keys(NamedTuple):
    """Which keys are listed: those with a prefix that follow another one."""

    prefix: str
    after: str
    limit: int


class KeyValues(ABC):
    """A store of keys and values; each method raises KeyValueError, and changes nothing then.

    Args:
        clock: tells when entries end.

    Attributes:
        is_elsewhere: whether reads, too, take as long as a question to another process.
    """

    is_elsewhere: bool

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @abstractmethod
    def close(self) -> None:
        """Release what it holds."""

    def now_seconds(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._clock.now().timestamp()

    def get(self, namespace: str, key: str, *, wait_seconds: float = BUSY_SECONDS_MAX) -> Value | None:
        """Return a value, or None."""
        return self._get(namespace, key_bytes(key), _bounded(wait_seconds))

    def put(
        self,
        namespace: str,
        key: str,
        stored: Value,
        expires: float | None = None,
        *,
        wait_seconds: float = BUSY_SECONDS_MAX,
    ) -> None:
        """Set a value.

        Args:
            namespace: of the function.
            key: 1 to `KEY_BYTES_MAX` bytes of UTF-8.
            stored: the value and its metadata.
            expires: when the entry ends, in seconds since the epoch; None for never.
            wait_seconds: how long to wait for others' writes; `BUSY_SECONDS_MAX` at most.

        Raises:
            KeyValueError: over a limit, or not written.
        """
        data = key_bytes(key)
        check_entry(stored, expires, now_seconds=self.now_seconds())
        self._put(namespace, data, stored, expires, _bounded(wait_seconds))

    def delete(self, namespace: str, key: str, *, wait_seconds: float = BUSY_SECONDS_MAX) -> None:
        """Remove a key; one that is not there is no error. Waits as `put` does."""
        self._delete(namespace, key_bytes(key), _bounded(wait_seconds))

    def list(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = LIST_KEYS_MAX,
        wait_seconds: float = BUSY_SECONDS_MAX,
    ) -> list[Listed]:
        """Return keys in the order of their bytes.

        Args:
            namespace: of the function.
            prefix: what they begin with.
            after: the last key of the page before.
            limit: at most `LIST_KEYS_MAX`.
            wait_seconds: as in `put`.

        Raises:
            KeyValueError: a limit is exceeded, or the store can't be read.
        """
        check_limit(limit)
        return list(self._list(namespace, Keys(prefix, after, limit), _bounded(wait_seconds)))

    @abstractmethod
    def sweep(self) -> None:
        """Remove some of what has expired; call it now and then."""

    @abstractmethod
    def _get(self, namespace: str, key: bytes, wait_seconds: float) -> Value | None: ...

    @abstractmethod
    def _put(self, namespace: str, key: bytes, stored: Value, expires: float | None, wait_seconds: float) -> None: ...

    @abstractmethod
    def _delete(self, namespace: str, key: bytes, wait_seconds: float) -> None: ...

    @abstractmethod
    def _list(self, namespace: str, keys: Keys, wait_seconds: float) -> Sequence[Listed]: ...


def _bounded(wait_seconds: float) -> float:
    return max(0.0, min(wait_seconds, BUSY_SECONDS_MAX))


def check_entry(stored: Value, expires: float | None, *, now_seconds: float) -> None:
    """Raise KeyValueError where a value is over a limit, or would have ended already."""
    if len(stored.value) > VALUE_BYTES_MAX:
        raise KeyValueError(f"a value may have {VALUE_BYTES_MAX} bytes, and this one has {len(stored.value)}")
    if stored.metadata is not None and len(stored.metadata.encode()) > METADATA_BYTES_MAX:
        raise KeyValueError(f"metadata may have {METADATA_BYTES_MAX} bytes of JSON")
    if expires is not None and expires <= now_seconds:
        raise KeyValueError("the expiration lies in the past")


def check_limit(limit: int) -> None:
    """Raise KeyValueError where a list can't be of so many keys."""
    if not 1 <= limit <= LIST_KEYS_MAX:
        raise KeyValueError(f"limit: must be from 1 to {LIST_KEYS_MAX}, not {limit}")


def namespace_full(would_hold_bytes: int) -> KeyValueError:
    """Return the error of what has no room in its namespace."""
    return KeyValueError(f"a function may keep {NAMESPACE_BYTES_MAX} bytes, and this would be {would_hold_bytes}")


def keys_with(prefix: str) -> tuple[bytes, bytes]:
    """Return from which key to before which the keys with a prefix are."""
    start = prefix.encode()
    return start, start + _END


def key_bytes(key: str) -> bytes:
    """Return a key as it is kept; raises KeyValueError where it can't be."""
    try:
        data = key.encode()
    except UnicodeEncodeError as error:
        raise KeyValueError("a key must be well-formed text, without lone surrogates") from error
    if not 1 <= len(data) <= KEY_BYTES_MAX:
        raise KeyValueError(f"a key must have 1 to {KEY_BYTES_MAX} bytes of UTF-8, not {len(data)}")
    return data
