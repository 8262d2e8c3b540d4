"""The form of a sealed value, and sealing and opening it: AES-256-GCM under a data key that travels with the value.

    magic | 1 byte, length of the key's id | the id | 2 bytes, length of the wrapped data key | the data key
    | nonce | ciphertext and tag

Everything before the nonce is the header. Header and the entry's key (resource, namespace, name) are authenticated
with the value, so a value that is moved to another entry does not open. A plain value is a JSON object, so the first
byte tells the two apart.

One data key serves many values: a process makes one, has it wrapped once, and remembers those it has met. So with a
key service, too, sealing a value is no call to it (Kubernetes' KMS v2 does the same).
"""

import os
import struct
from collections import OrderedDict
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skerry.store.errors import Undecryptable
from skerry.store.records import Key, Statistics
from skerry.store.sealing.keys import KEY_BYTES, NONCE_BYTES, KeyProvider, KeyUnavailable, Wrapped

#: No JSON begins with NUL; the last byte is the version of the form.
MAGIC = b"\0SK\1"
#: Random nonces of 96 bits under one key: at this number the chance that two are equal is 2^-41 (NIST allows 2^-32).
VALUES_PER_DATA_KEY_MAX = 2**28
#: Data keys remembered; a process makes one, and one more at each rotation.
DATA_KEYS_REMEMBERED_MAX = 1_000

_DAMAGED = "it is damaged, or was moved here from another object"


@dataclass(slots=True)
class DataKey:
    """What values are sealed with for a while.

    Attributes:
        key_id: the key that it is wrapped with.
        header: what a value sealed with it begins with.
        cipher: under this key.
        values: how many it has sealed.
    """

    key_id: str
    header: bytes
    cipher: AESGCM = field(repr=False)
    values: int = 0


def is_plain(value: bytes) -> bool:
    """Tell whether a value is not sealed."""
    return value.startswith(b"{")


def key_id_of(value: bytes) -> str:
    """Return the id of the key that a value is sealed with; "" for a plain or damaged one."""
    try:
        return _split(value)[1].key_id
    except ValueError:
        return ""


def _header(wrapped: Wrapped) -> bytes:
    key_id = wrapped.key_id.encode()
    return b"%s%c%s%s%s" % (MAGIC, len(key_id), key_id, struct.pack(">H", len(wrapped.data)), wrapped.data)


def _split(value: bytes) -> tuple[bytes, Wrapped]:
    """Return the header of a value and what it holds; raises ValueError."""
    try:
        id_end = len(MAGIC) + 1 + value[len(MAGIC)]
        (size,) = struct.unpack_from(">H", value, id_end)
        key_id = value[len(MAGIC) + 1 : id_end].decode("ascii")
    except (IndexError, struct.error) as error:
        raise ValueError("the header is cut off") from error
    end = id_end + 2 + size
    if not value.startswith(MAGIC) or len(value) <= end + NONCE_BYTES:
        raise ValueError("no sealed value")
    return value[:end], Wrapped(key_id, value[id_end + 2 : end])


def _associated(header: bytes, key: Key) -> bytes:
    return header + f"\0{key.resource}\0{key.namespace}\0{key.name}".encode()


class Sealer:
    """Seals and opens values.

    Args:
        provider: wraps data keys.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider
        self._current: DataKey | None = None
        self._known: OrderedDict[bytes, AESGCM] = OrderedDict()

    async def seal(self, key: Key, value: bytes) -> bytes:
        """Return a value sealed under the newest key.

        Between the look at the newest key and the return there is no pause: whoever then hands the value on at once
        is ahead of everything that is done after a newer key has come.
        """
        data_key = await self._data_key()
        data_key.values += 1
        nonce = os.urandom(NONCE_BYTES)
        return data_key.header + nonce + data_key.cipher.encrypt(nonce, value, _associated(data_key.header, key))

    async def _data_key(self) -> DataKey:
        current = self._current
        while current is None or not self._serves(current):
            fresh = AESGCM.generate_key(KEY_BYTES * 8)
            wrapped = await self._provider.wrap(fresh)
            current = self._current = DataKey(wrapped.key_id, _header(wrapped), AESGCM(fresh))
            self._remember(current.header, current.cipher)
        return current

    def _serves(self, data_key: DataKey) -> bool:
        return data_key.key_id == self._provider.known_keys()[-1].id and data_key.values < VALUES_PER_DATA_KEY_MAX

    async def open(self, key: Key, value: bytes) -> bytes:
        """Return what was sealed; a plain value as it is.

        Raises:
            Undecryptable: the key is missing, or the value is not what was sealed for this entry.
        """
        if is_plain(value):
            return value
        try:
            header, wrapped = _split(value)
        except ValueError as error:
            raise Undecryptable(key, _DAMAGED) from error
        try:
            cipher = self._known.get(header) or await self._unwrapped(header, wrapped)
        except KeyUnavailable as error:
            raise Undecryptable(key, str(error)) from error
        nonce_end = len(header) + NONCE_BYTES
        try:
            return cipher.decrypt(value[len(header) : nonce_end], value[nonce_end:], _associated(header, key))
        except (InvalidTag, ValueError) as error:
            raise Undecryptable(key, _DAMAGED) from error

    async def _unwrapped(self, header: bytes, wrapped: Wrapped) -> AESGCM:
        secret = await self._provider.unwrap(wrapped)
        cipher = AESGCM(secret)
        self._remember(header, cipher)
        return cipher

    def _remember(self, header: bytes, cipher: AESGCM) -> None:
        self._known[header] = cipher
        while len(self._known) > DATA_KEYS_REMEMBERED_MAX:
            self._known.popitem(last=False)

    def statistics(self) -> Statistics:
        """Return how many data keys are remembered."""
        return {"data_keys_remembered": len(self._known)}
