"""JSON Web Key Sets with public keys that verify tokens (RFC 7517, 7518, 8037), checked as far as Envoy looks.

Envoy refuses a listener whose keys it can't read, with every other change of it: so they are looked at when they come.
"""

import base64
import re
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.api.errors import ApiError
from skerry.api.shapes import check_shape

#: Levels of arrays and objects in a set; Envoy's parser takes a hundred, and a key with its certificates has five.
DEPTH_MAX = 16

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_RSA_BITS = range(512, 16384 + 1)
_RSA_EXPONENT_BITS_MAX = 32
_ED25519_BYTES = 32
_CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "P-256": ("ES256", ec.SECP256R1()),
    "P-384": ("ES384", ec.SECP384R1()),
    "P-521": ("ES512", ec.SECP521R1()),
}


def check_key_set(text: str) -> str:
    """Return a set of keys as it was given; raises ValueError, which says what is wrong with it."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"must be a JSON Web Key Set: {error}") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError('must be a JSON Web Key Set: an object with a list "keys" that is not empty')
    try:
        check_shape(found, DEPTH_MAX)
    except ApiError as error:
        raise ValueError(f"must be a JSON Web Key Set: {error.public}") from None
    for index, key in enumerate(keys):
        try:
            _check_key(key)
        except ValueError as error:
            raise ValueError(f"keys[{index}] must be a public key: {error}") from None
    return text


def _check_key(key: Any) -> None:
    match key.get("kty") if isinstance(key, dict) else None:
        case "RSA":
            _check_rsa(key)
        case "EC":
            _check_curve(key)
        case "OKP":
            _check_edwards(key)
        case _:
            raise ValueError("kty must be one of RSA, EC, OKP")


def _check_rsa(key: dict[str, Any]) -> None:
    _check_algorithm(key, ("RS", "PS"))
    modulus, exponent = _number(key, "n"), _number(key, "e")
    if modulus.bit_length() not in _RSA_BITS or modulus % 2 == 0:
        raise ValueError(f"n must be an odd number of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits")
    if exponent % 2 == 0 or exponent == 1 or exponent.bit_length() > _RSA_EXPONENT_BITS_MAX:
        raise ValueError(f"e must be an odd number from 3 on, of at most {_RSA_EXPONENT_BITS_MAX} bits")


def _check_curve(key: dict[str, Any]) -> None:
    named = key.get("crv")
    if named not in _CURVES:
        raise ValueError(f"crv must be one of {', '.join(_CURVES)}")
    algorithm, curve = _CURVES[named]
    _check_algorithm(key, (algorithm,))
    x, y = _number(key, "x"), _number(key, "y")
    try:
        ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError:
        raise ValueError(f"x and y are no point of {named}") from None


def _check_edwards(key: dict[str, Any]) -> None:
    if key.get("crv") != "Ed25519":
        raise ValueError("crv must be Ed25519")
    _check_algorithm(key, ("EdDSA",))
    if len(_bytes(key, "x")) != _ED25519_BYTES:
        raise ValueError(f"x must be {_ED25519_BYTES} bytes")


def _check_algorithm(key: dict[str, Any], beginnings: tuple[str, ...]) -> None:
    given = key.get("alg")
    if isinstance(given, str) and not given.startswith(beginnings):
        raise ValueError(f"alg {given!r} is not of a key of this kind")


def _number(key: dict[str, Any], name: str) -> int:
    return int.from_bytes(_bytes(key, name))


def _bytes(key: dict[str, Any], name: str) -> bytes:
    text = key.get(name)
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError(f"{name} must be a text in base64url, without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
