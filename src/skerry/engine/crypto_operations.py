"""What `crypto.subtle` of a function has the host do: ciphers, derivations, and keys in their several forms.

Owns the form of the questions and answers (JSON, with bytes beside it), and what bounds them: nothing here takes longer
than a second. Does not own keys: each question brings its own, and nothing of it is kept. What the rules are stands in
https://w3c.github.io/webcrypto/.

The libraries are imported when they are needed first: few functions use them, and a worker starts without.
"""

import base64
import binascii
import hashlib
import sys
from typing import TYPE_CHECKING, Any

import orjson

from skerry.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import Cipher, modes

#: As much as a request of a function may have; ciphers work in pieces, between which other threads go on.
DATA_BYTES_MAX = 32 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
#: Keys, vectors, salts and the like are short.
HEAD_BYTES_MAX = 256 * 1024
#: The longest, of P-521 as JWK, has some 330; a private key of RSA would be checked for long where more are taken.
CURVE_KEY_BYTES_MAX = 512
#: Of AES-KW, which goes over all of it six times; a private key of RSA has some 3 kB as JWK.
WRAPPED_BYTES_MAX = 8 * 1024
#: As Workers has it: a tenth of a second of a processor.
PBKDF2_ITERATIONS_MAX = 100_000
#: One block of PBKDF2 takes as long as all of the iterations.
PBKDF2_BYTES_MAX = 128
RSA_BITS = (2048, 3072, 4096)
#: Of AES-GCM in bits; what `cryptography` takes as a vector is 8 to 128 bytes.
_TAG_BITS = (32, 64, 96, 104, 112, 120, 128)
_HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_BLOCK_BYTES = 16
_SLOW_BYTES = 1024 * 1024


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
        if self.operation not in _OPERATIONS:
            raise CryptoError("NotSupportedError", f"no such operation: {self.operation[:20]}")

    @property
    def is_slow(self) -> bool:
        """Whether an answer takes more than some milliseconds; the first one does, since it imports."""
        is_first = "cryptography" not in sys.modules
        return is_first or self.operation in {"generateRsa", "pbkdf2"} or len(self.data) > _SLOW_BYTES

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


def answer(question: CryptoQuestion) -> bytes:
    """Carry out one operation; raises CryptoError."""
    return _OPERATIONS[question.operation](question)


def _encrypt(question: CryptoQuestion) -> bytes:
    from cryptography.hazmat.primitives.padding import PKCS7

    name, data = question.text("name"), question.data
    if name == "AES-GCM":
        tag_bytes = _tag_bytes(question)
        encryptor: Any = _cipher(question, _gcm_mode(question)).encryptor()
        encryptor.authenticate_additional_data(question.bytes("additionalData"))
        text, tag = _through(encryptor, data), bytes(encryptor.tag)
        return text + tag[:tag_bytes]
    if name == "AES-CBC":
        padder = PKCS7(_BLOCK_BYTES * 8).padder()
        data = padder.update(data) + padder.finalize()
        return _through(_cipher(question, _cbc_mode(question)).encryptor(), data)
    return _either_way(question, name, wraps=True)


def _decrypt(question: CryptoQuestion) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.padding import PKCS7

    name, data = question.text("name"), question.data
    try:
        if name == "AES-GCM":
            tag_bytes = _tag_bytes(question)
            if len(data) < tag_bytes:
                raise CryptoError("OperationError", "decryption failed: the data are shorter than their tag")
            text, tag = data[:-tag_bytes], data[-tag_bytes:]
            decryptor: Any = _cipher(question, _gcm_mode(question, tag)).decryptor()
            decryptor.authenticate_additional_data(question.bytes("additionalData"))
            return _through(decryptor, text)
        if name == "AES-CBC":
            unpadder = PKCS7(_BLOCK_BYTES * 8).unpadder()
            padded = _through(_cipher(question, _cbc_mode(question)).decryptor(), data)
            return unpadder.update(padded) + unpadder.finalize()
    except (InvalidTag, ValueError) as error:
        raise CryptoError("OperationError", "decryption failed: another key, or changed data") from error
    return _either_way(question, name, wraps=False)


def _either_way(question: CryptoQuestion, name: str, *, wraps: bool) -> bytes:
    if name == "AES-CTR":
        return _counted(question)
    if name == "AES-KW":
        return _wrapped(question, wraps=wraps)
    raise CryptoError("NotSupportedError", f"{name[:20]} encrypts nothing here")


def _counted(question: CryptoQuestion) -> bytes:
    """Go through AES-CTR; of the counter block, only the last `length` bits count, and come round."""
    from cryptography.hazmat.primitives.ciphers import modes

    block = _exactly(question, "counter", _BLOCK_BYTES)
    bits = question.number("length", least=1, most=128)
    blocks = -(-len(question.data) // _BLOCK_BYTES)
    if blocks > 1 << bits:
        raise CryptoError("OperationError", f"length: a counter of {bits} bits is too short for the data")
    start = int.from_bytes(block)
    before_round = (1 << bits) - start % (1 << bits)
    first, rest = question.data[: before_round * _BLOCK_BYTES], question.data[before_round * _BLOCK_BYTES :]
    come_round = (start >> bits << bits).to_bytes(_BLOCK_BYTES)
    text = _through(_cipher(question, modes.CTR(block)).encryptor(), first)
    return text + (_through(_cipher(question, modes.CTR(come_round)).encryptor(), rest) if rest else b"")


def _wrapped(question: CryptoQuestion, *, wraps: bool) -> bytes:
    from cryptography.hazmat.primitives import keywrap

    if len(question.data) > WRAPPED_BYTES_MAX:
        raise CryptoError("OperationError", "AES-KW: too long for a key")
    way = keywrap.aes_key_wrap if wraps else keywrap.aes_key_unwrap
    try:
        return way(_aes_key(question), question.data)
    except (ValueError, keywrap.InvalidUnwrap) as error:
        raise CryptoError("OperationError", f"AES-KW: {error or 'another key, or changed data'}") from error


def _aes_key(question: CryptoQuestion) -> bytes:
    key = question.bytes("key")
    if len(key) not in (16, 24, 32):
        raise CryptoError("DataError", "key: AES has keys of 128, 192 or 256 bits")
    return key


def _cipher(question: CryptoQuestion, mode: "modes.Mode") -> "Cipher[Any]":
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    return Cipher(algorithms.AES(_aes_key(question)), mode)


def _gcm_mode(question: CryptoQuestion, tag: bytes | None = None) -> "modes.GCM":
    from cryptography.hazmat.primitives.ciphers import modes

    vector = question.bytes("iv")
    if not 8 <= len(vector) <= 128:
        raise CryptoError("OperationError", "iv: must have 8 to 128 bytes")
    return modes.GCM(vector, tag, min_tag_length=_TAG_BITS[0] // 8)


def _cbc_mode(question: CryptoQuestion) -> "modes.CBC":
    from cryptography.hazmat.primitives.ciphers import modes

    return modes.CBC(_exactly(question, "iv", _BLOCK_BYTES))


def _exactly(question: CryptoQuestion, name: str, length: int) -> bytes:
    value = question.bytes(name)
    if len(value) != length:
        raise CryptoError("OperationError", f"{name}: must have {length} bytes")
    return value


def _tag_bytes(question: CryptoQuestion) -> int:
    bits = question.number("tagLength", least=_TAG_BITS[0], most=_TAG_BITS[-1])
    if bits not in _TAG_BITS:
        raise CryptoError("OperationError", f"tagLength: must be one of {', '.join(map(str, _TAG_BITS))}")
    return bits // 8


def _through(context: Any, data: bytes) -> bytes:
    pieces = [context.update(data[at : at + _PIECE_BYTES]) for at in range(0, len(data), _PIECE_BYTES)]
    return b"".join([*pieces, context.finalize()])


def _pbkdf2(question: CryptoQuestion) -> bytes:
    name = _hash_name(question)
    iterations = question.number("iterations", least=1, most=PBKDF2_ITERATIONS_MAX)
    length = question.number("bytes", least=1, most=PBKDF2_BYTES_MAX)
    # The standard library's, which lets other threads go on meanwhile.
    return hashlib.pbkdf2_hmac(name, question.bytes("key"), question.bytes("salt"), iterations, length)


def _hkdf(question: CryptoQuestion) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    name = _hash_name(question)
    algorithm: hashes.HashAlgorithm = getattr(hashes, name.upper())()
    length = question.number("bytes", least=1, most=255 * algorithm.digest_size)
    return HKDF(algorithm, length, question.bytes("salt"), question.bytes("info")).derive(question.bytes("key"))


def _hash_name(question: CryptoQuestion) -> str:
    name = question.text("hash")
    if name not in _HASHES:
        raise CryptoError("NotSupportedError", f"hash: must be one of {', '.join(_HASHES)}")
    return _HASHES[name]


def _generate_rsa(question: CryptoQuestion) -> bytes:
    from skerry.engine import crypto_keys

    bits = question.number("bits", least=RSA_BITS[0], most=RSA_BITS[-1])
    if bits not in RSA_BITS:
        raise CryptoError("OperationError", f"modulusLength: must be one of {', '.join(map(str, RSA_BITS))}")
    return crypto_keys.generated_rsa(bits)


def _generate_on_curve(question: CryptoQuestion) -> bytes:
    from skerry.engine.crypto_keys import Curve, KeyFormError

    try:
        return Curve(question.text("curve")).generated()
    except KeyFormError as error:
        raise CryptoError("NotSupportedError", f"namedCurve: {error}") from error


def _agree_on_curve(question: CryptoQuestion) -> bytes:
    from skerry.engine.crypto_keys import Curve, KeyFormError

    private, public = _short(question.bytes("private")), _short(question.bytes("public"))
    try:
        return Curve(question.text("curve")).agreed(private, public)
    except (KeyFormError, ValueError) as error:
        raise CryptoError("OperationError", f"no agreement: {error}") from error


def _convert_on_curve(question: CryptoQuestion) -> bytes:
    from skerry.engine.crypto_keys import Curve, KeyFormError

    try:
        return Curve(question.text("curve")).converted(
            _short(question.data), question.text("from"), question.text("to")
        )
    except KeyFormError as error:
        raise CryptoError("DataError", str(error)) from error


def _short(key: bytes) -> bytes:
    if len(key) > CURVE_KEY_BYTES_MAX:
        raise CryptoError("DataError", f"a key of a curve has {CURVE_KEY_BYTES_MAX} bytes at most")
    return key


_OPERATIONS: "dict[str, Callable[[CryptoQuestion], bytes]]" = {
    "encrypt": _encrypt,
    "decrypt": _decrypt,
    "pbkdf2": _pbkdf2,
    "hkdf": _hkdf,
    "generateRsa": _generate_rsa,
    "generateOnCurve": _generate_on_curve,
    "agreeOnCurve": _agree_on_curve,
    "convertOnCurve": _convert_on_curve,
}
