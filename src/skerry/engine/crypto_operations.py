"""What `crypto.subtle` of a function has the host do: signatures, ciphers, derivations, keys in their several forms.

Owns the operations, and what bounds them: nothing here takes longer than a second. Does not own keys: each question
(`crypto_question`) brings its own, and nothing of it is kept. What the rules are stands in
https://w3c.github.io/webcrypto/.

The libraries are imported when they are needed first: few functions use them, and a worker starts without.
"""

import hashlib
from typing import TYPE_CHECKING, Any

from skerry.engine.crypto_question import CryptoError, CryptoQuestion

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import Cipher, modes

#: Ciphers work in pieces, between which other threads go on.
_PIECE_BYTES = 256 * 1024
#: Of AES-KW, which goes over all of it six times; a private key of RSA has some 3 kB as JWK.
WRAPPED_BYTES_MAX = 8 * 1024
#: As Workers has it: a tenth of a second of a processor.
PBKDF2_ITERATIONS_MAX = 100_000
#: One block of PBKDF2 takes as long as all of the iterations.
PBKDF2_BYTES_MAX = 128
#: Of AES-GCM in bits; what `cryptography` takes as a vector is 8 to 128 bytes.
_TAG_BITS = (32, 64, 96, 104, 112, 120, 128)
_HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_BLOCK_BYTES = 16


def answer(question: CryptoQuestion) -> bytes:
    """Carry out one operation; raises CryptoError."""
    operation = _OPERATIONS.get(question.operation)
    if operation is None:
        raise CryptoError("NotSupportedError", f"no such operation: {question.operation[:20]}")
    return operation(question)


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
    if name == "RSA-OAEP":
        return _padded(question, encrypts=wraps)
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


def _padded(question: CryptoQuestion, *, encrypts: bool) -> bytes:
    from skerry.engine import crypto_rsa
    from skerry.engine.crypto_keys import KeyFormError

    hash_name, key, label = _hash_name(question), question.bytes("key"), question.bytes("label")
    way = crypto_rsa.encrypted if encrypts else crypto_rsa.decrypted
    try:
        return way(key, hash_name, label, question.data)
    except (KeyFormError, ValueError) as error:
        why = "the data are too long for the key" if encrypts else "another key, or changed data"
        raise CryptoError("OperationError", f"RSA-OAEP: {why}") from error


def _sign(question: CryptoQuestion) -> bytes:
    from skerry.engine.crypto_keys import KeyFormError
    from skerry.engine.crypto_signatures import Signing

    try:
        return Signing(question, _hash_of(question)).sign()
    except (KeyFormError, ValueError) as error:
        raise CryptoError("OperationError", f"{question.text('name')[:20]}: the key cannot sign this") from error


def _verify(question: CryptoQuestion) -> bytes:
    from skerry.engine.crypto_keys import KeyFormError
    from skerry.engine.crypto_signatures import Signing

    signature = question.bytes("signature")
    try:
        return bytes([Signing(question, _hash_of(question)).is_true(signature)])
    except KeyFormError as error:
        raise CryptoError("OperationError", str(error)) from error


def _hash_of(question: CryptoQuestion) -> str:
    return "" if question.text("name") == "Ed25519" else _hash_name(question)


def _generate(question: CryptoQuestion) -> bytes:
    from skerry.engine import crypto_rsa
    from skerry.engine.crypto_keys import KeyFormError, curve_of

    if question.text("kind") == "RSA":
        sizes = crypto_rsa.GENERATED_BITS
        bits = question.number("bits", least=sizes[0], most=sizes[-1])
        if bits not in sizes:
            raise CryptoError("OperationError", f"modulusLength: must be one of {', '.join(map(str, sizes))}")
        return crypto_rsa.generated(bits)
    try:
        return curve_of(question.text("kind")).generated()
    except KeyFormError as error:
        raise CryptoError("NotSupportedError", f"namedCurve: {error}") from error


def _agree(question: CryptoQuestion) -> bytes:
    from skerry.engine.crypto_keys import KeyFormError, curve_of

    private, public = question.bytes("private"), question.bytes("public")
    try:
        return curve_of(question.text("kind")).agreed(private, public)
    except (KeyFormError, ValueError) as error:
        raise CryptoError("OperationError", f"no agreement: {error}") from error


def _convert(question: CryptoQuestion) -> bytes:
    from skerry.engine import crypto_rsa
    from skerry.engine.crypto_keys import KeyFormError, curve_of

    kind, form, to = question.text("kind"), question.text("from"), question.text("to")
    try:
        if kind == "RSA":
            return crypto_rsa.converted(question.data, form, to)
        return curve_of(kind).converted(question.data, form, to)
    except KeyFormError as error:
        raise CryptoError("DataError", str(error)) from error


_OPERATIONS: "dict[str, Callable[[CryptoQuestion], bytes]]" = {
    "encrypt": _encrypt,
    "decrypt": _decrypt,
    "sign": _sign,
    "verify": _verify,
    "pbkdf2": _pbkdf2,
    "hkdf": _hkdf,
    "generate": _generate,
    "agree": _agree,
    "convert": _convert,
}
