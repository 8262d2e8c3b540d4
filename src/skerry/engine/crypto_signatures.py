"""Signatures of `crypto.subtle`: HMAC, ECDSA, Ed25519 and the two of RSA.

Owns which form a signature has. Data are hashed outside of Python's lock; only Ed25519, which goes over them twice,
takes them whole, and so no more than `EDWARDS_BYTES_MAX`.
"""

import hashlib
import hmac
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from skerry.engine import crypto_rsa
from skerry.engine.crypto_keys import curve_of
from skerry.engine.crypto_question import CryptoError, CryptoQuestion

EDWARDS_BYTES_MAX = 1024 * 1024
#: Of RSA-PSS; the modulus has no room for more.
_SALT_BYTES_MAX = 1024


class Signing:
    """Data, and a key that signs them or that they are verified with.

    Args:
        question: names the algorithm, and brings its key.
        hash_name: as `hashlib` has it; of no use for Ed25519.
    """

    def __init__(self, question: CryptoQuestion, hash_name: str) -> None:
        self._question = question
        self._hash_name = hash_name
        self._name = question.text("name")
        self._data = question.data
        if self._name not in {"HMAC", "ECDSA", "Ed25519", "RSA-PSS", "RSASSA-PKCS1-v1_5"}:
            raise CryptoError("NotSupportedError", f"{self._name[:20]} signs nothing here")
        if self._name == "Ed25519" and len(self._data) > EDWARDS_BYTES_MAX:
            raise CryptoError("OperationError", f"Ed25519: at most {EDWARDS_BYTES_MAX >> 20} MiB of data")

    def sign(self) -> bytes:
        """Return the signature; raises KeyFormError, or ValueError where the key is too short for it."""
        if self._name == "HMAC":
            return self._mac()
        signed: bytes
        match self._key():
            case ec.EllipticCurvePrivateKey() as key:
                return _joined(key.sign(self._digest(), ec.ECDSA(self._prehashed())), key.curve)
            case rsa.RSAPrivateKey() as key:
                return key.sign(self._digest(), self._padding(), self._prehashed())
            case ed25519.Ed25519PrivateKey() as key:
                signed = key.sign(self._data)
                return signed
            case _:
                raise CryptoError("InvalidAccessError", "a private key is needed")

    def is_true(self, signature: bytes) -> bool:
        """Whether a signature is of the data, by the key; raises KeyFormError."""
        if self._name == "HMAC":
            return hmac.compare_digest(self._mac(), signature)
        try:
            self._verify(signature)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _verify(self, signature: bytes) -> None:
        match self._key():
            case ec.EllipticCurvePublicKey() as key:
                key.verify(_parted(signature, key.curve), self._digest(), ec.ECDSA(self._prehashed()))
            case rsa.RSAPublicKey() as key:
                key.verify(signature, self._digest(), self._padding(), self._prehashed())
            case ed25519.Ed25519PublicKey() as key:
                key.verify(signature, self._data)
            case _:
                raise CryptoError("InvalidAccessError", "a public key is needed")

    def _key(self) -> Any:
        key = self._question.bytes("key")
        if self._name.startswith("RSA"):
            return crypto_rsa.read(key, "jwk")
        return curve_of(self._question.text("kind") if self._name == "ECDSA" else "Ed25519").read(key, "jwk")

    def _mac(self) -> bytes:
        return hmac.new(self._question.bytes("key"), self._data, self._hash_name).digest()

    def _digest(self) -> bytes:
        return hashlib.new(self._hash_name, self._data).digest()

    def _algorithm(self) -> hashes.HashAlgorithm:
        algorithm: hashes.HashAlgorithm = getattr(hashes, self._hash_name.upper())()
        return algorithm

    def _prehashed(self) -> Prehashed:
        return Prehashed(self._algorithm())

    def _padding(self) -> padding.AsymmetricPadding:
        if self._name == "RSASSA-PKCS1-v1_5":
            return padding.PKCS1v15()
        length = self._question.number("saltLength", least=0, most=_SALT_BYTES_MAX)
        return padding.PSS(padding.MGF1(self._algorithm()), length)


def _joined(der: bytes, curve: ec.EllipticCurve) -> bytes:
    """Return the two numbers of a signature one after the other, as WebCrypto has them."""
    length = -(-curve.key_size // 8)
    return b"".join(number.to_bytes(length) for number in decode_dss_signature(der))


def _parted(signature: bytes, curve: ec.EllipticCurve) -> bytes:
    length = -(-curve.key_size // 8)
    if len(signature) != 2 * length:
        raise ValueError("of another length")
    return encode_dss_signature(int.from_bytes(signature[:length]), int.from_bytes(signature[length:]))
