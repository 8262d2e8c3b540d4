"""Keys of RSA in their several forms (JWK, SPKI, PKCS #8), and the encryption with them.

Owns what a key must be to be used. The library looks whether the factors of a private key are primes, which takes up to
half a second and holds the whole process up; so it is told not to, and here is looked whether all the numbers fit each
other, which takes less than a thousandth of that. Factors that are no primes give results that are wrong, in the same
time as others: they harm their function alone.

Invariant: nothing takes longer than some milliseconds, since no modulus that comes to the library has more bits than
`PRIVATE_BITS_MAX`, or `PUBLIC_BITS_MAX` where the key is public; it is odd, and the public exponent short.
"""

import re
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from skerry.engine.crypto_keys import KeyFormError, octets, pkcs8, spki, text_of

GENERATED_BITS = (2048, 3072, 4096)
BITS_MIN = 1024
PRIVATE_BITS_MAX = 4096
PUBLIC_BITS_MAX = 8192
#: A private key of 4,096 bits has some 3,200 as JWK, and 2,400 as PKCS #8.
KEY_BYTES_MAX = 4 * 1024
_EXPONENT_BITS_MAX = 33
_EXPONENT = 65537
_MEMBERS = ("n", "e", "d", "p", "q", "dp", "dq", "qi")

#: How keys of RSA begin, so that no other kind is read: a sequence, its version where it is private, and rsaEncryption.
_ALGORITHM = rb"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
_SEQUENCE = rb"\x30(?:\x82..|\x81.)"
_PKCS8 = re.compile(_SEQUENCE + rb"\x02\x01\x00" + _ALGORITHM, re.DOTALL)
_SPKI = re.compile(_SEQUENCE + _ALGORITHM, re.DOTALL)

Key = rsa.RSAPrivateKey | rsa.RSAPublicKey


def generated(bits: int) -> bytes:
    """Return a new private key as JWK; it may take a second, in which other threads go on."""
    return _jwk(rsa.generate_private_key(_EXPONENT, bits))


def converted(key: bytes, form: str, to: str) -> bytes:
    """Return a key in another form (`jwk`, `spki`, `pkcs8`); raises KeyFormError."""
    read_key = read(key, form)
    if to == "jwk":
        return _jwk(read_key)
    if isinstance(read_key, rsa.RSAPrivateKey):
        if to == "pkcs8":
            return pkcs8(read_key)
    elif to == "spki":
        return spki(read_key)
    raise KeyFormError(f"such a key has no form {to[:20]}")


def read(key: bytes, form: str) -> Key:
    """Return a key whose numbers fit each other; raises KeyFormError."""
    if len(key) > KEY_BYTES_MAX:
        raise KeyFormError(f"a key of RSA has {KEY_BYTES_MAX} bytes at most")
    try:
        return _checked(_reading(key, form))
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise KeyFormError(f"it is no key of RSA as {form[:20]}: {_why(error)}") from error


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, _UnfitError) else "it cannot be read"


class _UnfitError(ValueError):
    """Numbers do not fit each other, or are out of bounds."""


def _reading(key: bytes, form: str) -> rsa.RSAPrivateNumbers | rsa.RSAPublicNumbers:
    match form:
        case "jwk":
            return _from_jwk(orjson.loads(key))
        case "spki" if _SPKI.match(key):
            public: Any = load_der_public_key(key)
            return _public_numbers(public)
        case "pkcs8" if _PKCS8.match(key):
            private: Any = load_der_private_key(key, None, unsafe_skip_rsa_key_validation=True)
            return _private_numbers(private)
        case _:
            raise ValueError("no such form")


def _public_numbers(key: rsa.RSAPublicKey) -> rsa.RSAPublicNumbers:
    return key.public_numbers()


def _private_numbers(key: rsa.RSAPrivateKey) -> rsa.RSAPrivateNumbers:
    return key.private_numbers()


def _from_jwk(jwk: dict[str, str]) -> rsa.RSAPrivateNumbers | rsa.RSAPublicNumbers:
    if jwk["kty"] != "RSA":
        raise ValueError("of another kind")
    members = _MEMBERS if jwk.get("d") is not None else _MEMBERS[:2]
    if any(jwk.get(member) is None for member in members):
        raise _UnfitError(f"it must have {', '.join(members)}")
    n, e, *private = (int.from_bytes(octets(jwk[member])) for member in members)
    public = rsa.RSAPublicNumbers(e, n)
    if not private:
        return public
    d, p, q, dp, dq, qi = private
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public)


def _checked(numbers: rsa.RSAPrivateNumbers | rsa.RSAPublicNumbers) -> Key:
    if isinstance(numbers, rsa.RSAPublicNumbers):
        _check_public(numbers, PUBLIC_BITS_MAX)
        return numbers.public_key()
    _check_public(numbers.public_numbers, PRIVATE_BITS_MAX)
    _check_private(numbers)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _check_public(numbers: rsa.RSAPublicNumbers, bits_max: int) -> None:
    if not BITS_MIN <= numbers.n.bit_length() <= bits_max or numbers.n % 2 == 0:
        raise _UnfitError(f"its modulus has {BITS_MIN} to {bits_max} bits")
    if not 3 <= numbers.e < 1 << _EXPONENT_BITS_MAX or numbers.e % 2 == 0:
        raise _UnfitError(f"its public exponent is odd, and has {_EXPONENT_BITS_MAX} bits at most")


def _check_private(key: rsa.RSAPrivateNumbers) -> None:
    n, e = key.public_numbers.n, key.public_numbers.e
    least = 1 << (n.bit_length() // 2 - 100)  # else a factor is found
    fits = (
        key.p > least
        and key.q > least
        and key.p != key.q
        and key.p * key.q == n
        and 0 < key.d < n
        and key.d * e % (key.p - 1) == 1
        and key.d * e % (key.q - 1) == 1
        and key.dmp1 == key.d % (key.p - 1)
        and key.dmq1 == key.d % (key.q - 1)
        and 0 < key.iqmp < key.p
        and key.iqmp * key.q % key.p == 1
    )
    if not fits:
        raise _UnfitError("its numbers do not fit each other")


def _jwk(key: Key) -> bytes:
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        return orjson.dumps(_members((public.n, public.e)))
    of = key.private_numbers()
    public = of.public_numbers
    return orjson.dumps(_members((public.n, public.e, of.d, of.p, of.q, of.dmp1, of.dmq1, of.iqmp)))


def _members(numbers: tuple[int, ...]) -> dict[str, str]:
    texts = [text_of(number.to_bytes((number.bit_length() + 7) // 8)) for number in numbers]
    return {"kty": "RSA", **dict(zip(_MEMBERS, texts, strict=False))}


def encrypted(key: bytes, hash_name: str, label: bytes, data: bytes) -> bytes:
    """Encrypt with a public key as JWK; raises KeyFormError, or ValueError where there is too much."""
    public = read(key, "jwk")
    if not isinstance(public, rsa.RSAPublicKey):
        raise KeyFormError("a public key is needed")
    return public.encrypt(data, _oaep(hash_name, label))


def decrypted(key: bytes, hash_name: str, label: bytes, data: bytes) -> bytes:
    """Decrypt with a private key as JWK; raises KeyFormError, or ValueError where it is not for it."""
    private = read(key, "jwk")
    if not isinstance(private, rsa.RSAPrivateKey):
        raise KeyFormError("a private key is needed")
    return private.decrypt(data, _oaep(hash_name, label))


def _oaep(hash_name: str, label: bytes) -> padding.OAEP:
    algorithm: hashes.HashAlgorithm = getattr(hashes, hash_name.upper())()
    return padding.OAEP(padding.MGF1(algorithm), algorithm, label or None)
