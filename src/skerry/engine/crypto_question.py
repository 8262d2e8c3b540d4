"""What a function asks of the host's cryptography: one operation, read and bounded.

Owns the form of the questions (JSON, with bytes beside it), and how long they may be. What the operations are is
`crypto_operations`'s.
"""

import base64
import binascii
import sys

import orjson

from skerry.engine.errors import EngineError

#: As much as a request of a function may have; ciphers work in pieces, between which other threads go on.
DATA_BYTES_MAX = 32 * 1024 * 1024
#: Keys, vectors, salts and the like are short.
HEAD_BYTES_MAX = 256 * 1024
_SLOW_BYTES = 1024 * 1024
_SLOW = frozenset({"generate", "pbkdf2"})
#: With a private key of RSA: some milliseconds.
_SLOW_WITH_RSA = frozenset({"sign", "decrypt"})


class CryptoError(EngineError):
    """An operation that is refused or has failed.

    Attributes:
        public: the name of the exception that the function gets, and why, with `: ` between them.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")


class CryptoQuestion:
    """One operation, as `web/crypto.js` writes it.

    Args:
        head: JSON `{"operation": ..., ...}`; its bytes are text of base64.
        data: what is encrypted or decrypted, or a key that is converted.

    Raises:
        CryptoError: it can't be read. JSON is written by code that a function may have tampered with.
    """

    def __init__(self, head: bytes, data: bytes) -> None:
        try:
            asked = orjson.loads(head)
        except orjson.JSONDecodeError as error:
            raise CryptoError("DataError", "parameters must be well-formed text") from error
        self._asked = asked if isinstance(asked, dict) else {}
        self.data = data
        self.operation = self.text("operation")

    @property
    def is_slow(self) -> bool:
        """Whether an answer takes more than some milliseconds; the first one does, since it imports."""
        if "cryptography" not in sys.modules or self.operation in _SLOW or len(self.data) > _SLOW_BYTES:
            return True
        return self.operation in _SLOW_WITH_RSA and str(self._asked.get("name")).startswith("RSA")

    def text(self, name: str) -> str:
        """Return an argument that is text."""
        value = self._asked.get(name)
        if not isinstance(value, str):
            raise CryptoError("DataError", f"{name}: must be text")
        return value

    def bytes(self, name: str) -> bytes:
        """Return an argument that is bytes."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError) as error:
            raise CryptoError("DataError", f"{name}: must be bytes") from error

    def number(self, name: str, *, least: int, most: int) -> int:
        """Return an argument that is a whole number within bounds."""
        value = self._asked.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise CryptoError("OperationError", f"{name}: must be a whole number from {least} to {most}")
        return value


def check_lengths(head_length: int, data_length: int) -> None:
    """Look at the lengths of a question, before it is read; raises CryptoError."""
    if not 0 <= head_length <= HEAD_BYTES_MAX:
        raise CryptoError("OperationError", f"keys and parameters have at most {HEAD_BYTES_MAX >> 10} KiB")
    if not 0 <= data_length <= DATA_BYTES_MAX:
        raise CryptoError("OperationError", f"at most {DATA_BYTES_MAX >> 20} MiB of data at once")
