"""Key-encryption keys: what wraps the data keys that values are sealed with.

Owns the Protocol that a provider fulfils, and `LocalKeys`, which keeps keys in one private file. A key service of a
cloud is another provider: its keys never leave it, so wrapping and unwrapping are its calls, and may take time.

Invariant: a key is durable before anything is wrapped with it.
"""

import asyncio
import base64
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skerry.kit.clock import Clock, rfc3339
from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory, write_private
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)

#: AES-256 throughout.
KEY_BYTES = 32
NONCE_BYTES = 12
#: Keys of one provider. A rotation that ends leaves one, so more than a few mean that none of them ended.
KEYS_MAX = 16
_KEY_ID_BYTES = 6
_PURPOSE = b"skerry data key\0"


class KeyUnavailable(Exception):
    """A provider does not have a key, or the key did not wrap these bytes; the message says which."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key that only the provider of `key_id` can read."""

    key_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be told of a key.

    Attributes:
        id: unique among all providers: it begins with the provider's name.
        created: RFC 3339.
        unused: whether it unwraps only, until `use_added`.
    """

    id: str
    created: str
    unused: bool = False


class KeyProvider(Protocol):
    """Keeps key-encryption keys; the newest wraps, all unwrap."""

    def known_keys(self) -> Sequence[KeyInfo]:
        """Return the keys, the newest last."""
        ...

    async def wrap(self, data_key: bytes) -> Wrapped:
        """Encrypt a data key under the newest key."""
        ...

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """Decrypt a data key; raises KeyUnavailable."""
        ...

    async def add(self) -> str:
        """Make a new key, from now on the newest, and return its id."""
        ...

    async def remove(self, key_ids: Sequence[str]) -> None:
        """Forget keys that nothing is wrapped with any more."""
        ...


@dataclass(frozen=True, slots=True)
class _Key:
    info: KeyInfo
    secret: bytes


class LocalKeys:
    """Keys in one file, mode 0600. Made for one process: the holder of the data directory's lock.

    Args:
        path: a JSON object `{"keys": [{"id", "created", "key"}]}`, the newest last; absent before the first key. One
            with `"unused": true` is the first.
        clock: for `created`.

    Raises:
        StartError: the file can't be read.
    """

    name = "local"

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._keys = _read(path)
        #: One change at a time: of two that are made from the same state, one would lose the other's key.
        self._changing = asyncio.Lock()

    def known_keys(self) -> Sequence[KeyInfo]:
        """Return the keys, the newest last."""
        return tuple(key.info for key in self._keys)

    async def wrap(self, data_key: bytes) -> Wrapped:
        """Encrypt a data key under the newest key."""
        key, nonce = self._keys[-1], os.urandom(NONCE_BYTES)
        return Wrapped(key.info.id, nonce + AESGCM(key.secret).encrypt(nonce, data_key, _bound_to(key.info.id)))

    async def unwrap(self, wrapped: Wrapped) -> bytes:
        """Decrypt a data key; raises KeyUnavailable."""
        key = next((key for key in self._keys if key.info.id == wrapped.key_id), None)
        if key is None:
            raise KeyUnavailable(f'key "{wrapped.key_id}" is missing in {self._path.name}')
        nonce, data = wrapped.data[:NONCE_BYTES], wrapped.data[NONCE_BYTES:]
        try:
            return AESGCM(key.secret).decrypt(nonce, data, _bound_to(wrapped.key_id))
        except (InvalidTag, ValueError) as error:
            raise KeyUnavailable(f'its data key is damaged, or not of key "{wrapped.key_id}"') from error

    async def add(self) -> str:
        """Make a new key, from now on the newest, and return its id."""
        async with self._changing:
            key = self._made()
            await self._keep((*self._keys, key))
            return key.info.id

    def _made(self) -> _Key:
        if len(self._keys) >= KEYS_MAX:
            raise KeyUnavailable(f"there are {KEYS_MAX} keys already: a rotation has to end before the next begins")
        info = KeyInfo(f"{self.name}:{secrets.token_hex(_KEY_ID_BYTES)}", rfc3339(self._clock.now()))
        return _Key(info, AESGCM.generate_key(KEY_BYTES * 8))

    async def add_unused(self) -> str:
        """Make a key that unwraps and does not wrap yet, the oldest by its place, and return its id."""
        async with self._changing:
            key = self._made()
            unused = _Key(replace(key.info, unused=True), key.secret)
            await self._keep((unused, *self._keys))
            return key.info.id

    async def use_added(self) -> str:
        """Make the key of `add_unused` the newest one, and return its id; raises KeyUnavailable where there is none."""
        async with self._changing:
            if not self._keys or not self._keys[0].info.unused:
                raise KeyUnavailable("there is no key that was added and is not used")
            added, *others = self._keys
            await self._keep((*others, _Key(replace(added.info, unused=False), added.secret)))
            return added.info.id

    async def remove(self, key_ids: Sequence[str]) -> None:
        """Forget keys that nothing is wrapped with any more."""
        async with self._changing:
            await self._keep(tuple(key for key in self._keys if key.info.id not in key_ids))

    async def _keep(self, keys: tuple[_Key, ...]) -> None:
        with ThreadPoolExecutor(1, "encryption-keys") as executor:
            await run_blocking(executor, partial(_write, self._path, keys))
        self._keys = keys


def _bound_to(key_id: str) -> bytes:
    return _PURPOSE + key_id.encode()


def _read(path: Path) -> tuple[_Key, ...]:
    try:
        keys = tuple(map(_read_key, orjson.loads(path.read_bytes())["keys"]))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"the encryption keys in {path} can't be read: restore the file, for what is sealed with them is lost "
            "without it",
            detail=str(error),
        ) from error
    if path.stat().st_mode & 0o077:
        log.warning("the encryption keys can be read by others: set the file's mode to 0600", path=str(path))
    if any(len(key.secret) != KEY_BYTES for key in keys):
        raise StartError(f"the encryption keys in {path} can't be read: each must be {KEY_BYTES} bytes in base64")
    return keys


def _read_key(listed: dict[str, Any]) -> _Key:
    info = KeyInfo(listed["id"], listed["created"], unused=bool(listed.get("unused")))
    return _Key(info, base64.b64decode(listed["key"], validate=True))


def _write(path: Path, keys: tuple[_Key, ...]) -> None:
    listed = [
        {"id": key.info.id, "created": key.info.created, "key": base64.b64encode(key.secret).decode()}
        | ({"unused": True} if key.info.unused else {})
        for key in keys
    ]
    make_private_directory(path.parent)
    write_private(path, orjson.dumps({"keys": listed}, option=orjson.OPT_INDENT_2) + b"\n")
