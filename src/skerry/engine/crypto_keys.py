"""Keys of `crypto.subtle` in their several forms: JWK, SPKI, PKCS #8, and points of curves.

Owns the conversions, and what a JWK has. Does not own what bounds the questions (`crypto_operations`): keys of curves
come here with so few bytes that no other key among them would take long to check.
"""

import base64
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_RSA_PUBLIC_EXPONENT = 65537


class KeyFormError(Exception):
    """Bytes are no such key, or a key has no such form."""


class Curve:
    """A curve of NIST's; raises KeyFormError for one of another name."""

    def __init__(self, name: str) -> None:
        if name not in _CURVES:
            raise KeyFormError(f"the curves are {', '.join(_CURVES)}")
        self.name = name
        self._curve = _CURVES[name]
        self._bytes = -(-self._curve.key_size // 8)

    def generated(self) -> bytes:
        """Return a new private key as JWK."""
        return orjson.dumps(self._jwk(ec.generate_private_key(self._curve)))

    def agreed(self, private: bytes, public: bytes) -> bytes:
        """Return what two keys, each as JWK, agree on; raises KeyFormError."""
        mine, theirs = self._read(private, "jwk"), self._read(public, "jwk")
        if not isinstance(mine, ec.EllipticCurvePrivateKey) or not isinstance(theirs, ec.EllipticCurvePublicKey):
            raise KeyFormError("a private and a public key are needed")
        return mine.exchange(ec.ECDH(), theirs)

    def converted(self, key: bytes, form: str, to: str) -> bytes:
        """Return a key in another form (`jwk`, `raw`, `spki`, `pkcs8`); raises KeyFormError."""
        read = self._read(key, form)
        if to == "jwk":
            return orjson.dumps(self._jwk(read))
        if isinstance(read, ec.EllipticCurvePrivateKey):
            if to == "pkcs8":
                return _pkcs8(read)
        elif to == "spki":
            return _spki(read)
        elif to == "raw":
            return read.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        raise KeyFormError(f"such a key has no form {to[:20]}")

    def _read(self, key: bytes, form: str) -> ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey:
        try:
            read = self._reading(key, form)
        except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
            raise KeyFormError(f"it is no key of {self.name} as {form[:20]}") from error
        if not isinstance(read, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
            raise KeyFormError("it is no key of a curve")
        if read.curve.name != self._curve.name:
            raise KeyFormError(f"it is a key of another curve than {self.name}")
        return read

    def _reading(self, key: bytes, form: str) -> Any:
        match form:
            case "jwk":
                return self._from_jwk(key)
            case "raw":
                return ec.EllipticCurvePublicKey.from_encoded_point(self._curve, key)
            case "spki":
                return load_der_public_key(key)
            case "pkcs8":
                return load_der_private_key(key, None)
            case _:
                raise ValueError("no such form")

    def _from_jwk(self, text: bytes) -> Any:
        jwk: dict[str, str] = orjson.loads(text)
        if jwk["kty"] != "EC" or jwk["crv"] != self.name:
            raise ValueError("of another kind")
        public = ec.EllipticCurvePublicNumbers(self._number(jwk["x"]), self._number(jwk["y"]), self._curve)
        if jwk.get("d") is None:
            return public.public_key()
        return ec.EllipticCurvePrivateNumbers(self._number(jwk["d"]), public).private_key()

    def _number(self, text: str) -> int:
        digits = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if len(digits) != self._bytes:
            raise ValueError("of another length")
        return int.from_bytes(digits)

    def _jwk(self, key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> dict[str, str]:
        public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
        at = public.public_numbers()
        jwk = {"kty": "EC", "crv": self.name, "x": _text(at.x, self._bytes), "y": _text(at.y, self._bytes)}
        if isinstance(key, ec.EllipticCurvePrivateKey):
            jwk["d"] = _text(key.private_numbers().private_value, self._bytes)
        return jwk


def generated_rsa(bits: int) -> bytes:
    """Return a new private key of RSA as JSON: `jwk`, `pkcs8` and its public key as `spki`, the latter as base64.

    Others are read by the engine itself: to check a private key takes as long as a tenth of a second, and holds the
    whole process up.
    """
    key = rsa.generate_private_key(_RSA_PUBLIC_EXPONENT, bits)
    numbers = key.private_numbers()
    public = numbers.public_numbers
    parts = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.p, "q": numbers.q}
    parts |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    jwk = {"kty": "RSA", **{name: _text(value, (value.bit_length() + 7) // 8) for name, value in parts.items()}}
    forms = {"pkcs8": _pkcs8(key), "spki": _spki(key.public_key())}
    return orjson.dumps({"jwk": jwk, **{form: base64.b64encode(der).decode() for form, der in forms.items()}})


def _pkcs8(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _text(number: int, length: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(length)).rstrip(b"=").decode()
