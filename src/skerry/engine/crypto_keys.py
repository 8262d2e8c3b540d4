"""Keys of curves in their several forms: JWK, SPKI, PKCS #8, and raw points; and what two of them agree on.

Owns the conversions, and what a JWK has. A key has so few bytes that no key of another kind, which would take long to
check, fits. Those of RSA are `crypto_rsa`'s.
"""

import base64
from typing import Any, Protocol

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

#: The longest, of P-521 as JWK, has some 330.
CURVE_KEY_BYTES_MAX = 512

_NIST: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_EDWARDS: dict[str, tuple[Any, Any]] = {
    "Ed25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    "X25519": (x25519.X25519PrivateKey, x25519.X25519PublicKey),
}


class KeyFormError(Exception):
    """Bytes are no such key, or a key has no such form."""


class Spelling(Protocol):
    """How keys of one curve are made, and written but for DER."""

    private: Any
    public: Any

    def generated(self) -> Any:
        """Return a new private key."""

    def of_raw(self, key: bytes) -> Any:
        """Return a public key; raises ValueError."""

    def raw(self, public: Any) -> bytes:
        """Write a public key."""

    def of_jwk(self, jwk: dict[str, str]) -> Any:
        """Return a key; raises ValueError or KeyError."""

    def jwk(self, public: Any, private: Any) -> dict[str, str]:
        """Write a public key, with its private half where that is not None."""


class Curve:
    """Keys of one curve."""

    def __init__(self, name: str, spelling: Spelling) -> None:
        self.name = name
        self._spelling = spelling

    def generated(self) -> bytes:
        """Return a new private key as JWK."""
        return self._jwk(self._spelling.generated())

    def agreed(self, private: bytes, public: bytes) -> bytes:
        """Return what two keys, each as JWK, agree on; raises KeyFormError, or ValueError where that says nothing."""
        mine, theirs = self.read(private, "jwk"), self.read(public, "jwk")
        if not self._is_private(mine) or self._is_private(theirs) or not hasattr(mine, "exchange"):
            raise KeyFormError("a private and a public key to agree with are needed")
        shared: bytes = mine.exchange(ec.ECDH(), theirs) if self.name in _NIST else mine.exchange(theirs)
        return shared

    def converted(self, key: bytes, form: str, to: str) -> bytes:
        """Return a key in another form (`jwk`, `raw`, `spki`, `pkcs8`); raises KeyFormError."""
        read = self.read(key, form)
        if to == "jwk":
            return self._jwk(read)
        if self._is_private(read):
            if to == "pkcs8":
                return pkcs8(read)
        elif to == "spki":
            return spki(read)
        elif to == "raw":
            return self._spelling.raw(read)
        raise KeyFormError(f"such a key has no form {to[:20]}")

    def read(self, key: bytes, form: str) -> Any:
        """Return a key; raises KeyFormError."""
        if len(key) > CURVE_KEY_BYTES_MAX:
            raise KeyFormError(f"a key of a curve has {CURVE_KEY_BYTES_MAX} bytes at most")
        try:
            read = self._reading(key, form)
        except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
            raise KeyFormError(f"it is no key of {self.name} as {form[:20]}") from error
        if not isinstance(read, self._spelling.private | self._spelling.public):
            raise KeyFormError(f"it is no key of {self.name}")
        if self.name in _NIST and read.curve.name != _NIST[self.name].name:
            raise KeyFormError(f"it is a key of another curve than {self.name}")
        return read

    def _reading(self, key: bytes, form: str) -> Any:
        match form:
            case "jwk":
                return self._spelling.of_jwk(orjson.loads(key))
            case "raw":
                return self._spelling.of_raw(key)
            case "spki":
                return load_der_public_key(key)
            case "pkcs8":
                return load_der_private_key(key, None)
            case _:
                raise ValueError("no such form")

    def _is_private(self, key: Any) -> bool:
        return isinstance(key, self._spelling.private)

    def _jwk(self, key: Any) -> bytes:
        is_private = self._is_private(key)
        return orjson.dumps(self._spelling.jwk(key.public_key() if is_private else key, key if is_private else None))


class NistSpelling:
    """Of NIST's curves; see `Spelling`."""

    private: Any = ec.EllipticCurvePrivateKey
    public: Any = ec.EllipticCurvePublicKey

    def __init__(self, name: str) -> None:
        self._name = name
        self._curve = _NIST[name]
        self._bytes = -(-self._curve.key_size // 8)

    def generated(self) -> Any:
        """Return a new private key."""
        return ec.generate_private_key(self._curve)

    def of_raw(self, key: bytes) -> Any:
        """Return the public key that is a point."""
        return ec.EllipticCurvePublicKey.from_encoded_point(self._curve, key)

    def raw(self, public: Any) -> bytes:
        """Return the point, uncompressed."""
        point: bytes = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return point

    def of_jwk(self, jwk: dict[str, str]) -> Any:
        """Return a key; see `Spelling`."""
        _check_kind(jwk, "EC", self._name)
        x, y = (int.from_bytes(octets(jwk[member], self._bytes)) for member in ("x", "y"))
        public = ec.EllipticCurvePublicNumbers(x, y, self._curve)
        if jwk.get("d") is None:
            return public.public_key()
        return ec.EllipticCurvePrivateNumbers(int.from_bytes(octets(jwk["d"], self._bytes)), public).private_key()

    def jwk(self, public: Any, private: Any) -> dict[str, str]:
        """Write a key; see `Spelling`."""
        at = public.public_numbers()
        numbers = {"x": at.x, "y": at.y}
        if private is not None:
            numbers["d"] = private.private_numbers().private_value
        members = {name: text_of(number.to_bytes(self._bytes)) for name, number in numbers.items()}
        return {"kty": "EC", "crv": self._name, **members}


class EdwardsSpelling:
    """Of Curve25519 (https://www.rfc-editor.org/rfc/rfc8037); see `Spelling`."""

    _BYTES = 32

    def __init__(self, name: str) -> None:
        self._name = name
        self.private, self.public = _EDWARDS[name]

    def generated(self) -> Any:
        """Return a new private key."""
        return self.private.generate()

    def of_raw(self, key: bytes) -> Any:
        """Return the public key that is these bytes."""
        return self.public.from_public_bytes(key)

    def raw(self, public: Any) -> bytes:
        """Return a public key's bytes."""
        raw: bytes = public.public_bytes_raw()
        return raw

    def of_jwk(self, jwk: dict[str, str]) -> Any:
        """Return a key; see `Spelling`."""
        _check_kind(jwk, "OKP", self._name)
        point = octets(jwk["x"], self._BYTES)
        if jwk.get("d") is None:
            return self.of_raw(point)
        private = self.private.from_private_bytes(octets(jwk["d"], self._BYTES))
        if private.public_key().public_bytes_raw() != point:
            raise ValueError("the halves are of two pairs")
        return private

    def jwk(self, public: Any, private: Any) -> dict[str, str]:
        """Write a key; see `Spelling`."""
        members = {"kty": "OKP", "crv": self._name, "x": text_of(public.public_bytes_raw())}
        return members if private is None else {**members, "d": text_of(private.private_bytes_raw())}


def curve_of(name: str) -> Curve:
    """Return the curve of a name; raises KeyFormError where there is none."""
    if name in _NIST:
        return Curve(name, NistSpelling(name))
    if name in _EDWARDS:
        return Curve(name, EdwardsSpelling(name))
    raise KeyFormError(f"the curves are {', '.join(_NIST)}")


def _check_kind(jwk: dict[str, str], kind: str, curve: str) -> None:
    if jwk["kty"] != kind or jwk["crv"] != curve:
        raise ValueError("of another kind")


def octets(text: str, length: int | None = None) -> bytes:
    """Read a member of a JWK, of that length where one is given; raises ValueError or TypeError."""
    read = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if length is not None and len(read) != length:
        raise ValueError("of another length")
    return read


def text_of(octets: bytes) -> str:
    """Write a member of a JWK."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def pkcs8(key: Any) -> bytes:
    """Write a private key."""
    der: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return der


def spki(key: Any) -> bytes:
    """Write a public key."""
    der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der
