"""Sets of public keys: what Envoy takes is taken, what it refuses is refused with its place and reason."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from skerry.api.json_web_keys import check_key_set


def base64url(number: int, size_bytes: int = 0) -> str:
    content = number.to_bytes(size_bytes or (number.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def curve_key(curve: ec.EllipticCurve, name: str) -> dict[str, Any]:
    point = ec.generate_private_key(curve).public_key().public_numbers()
    size = (curve.key_size + 7) // 8
    return {"kty": "EC", "crv": name, "x": base64url(point.x, size), "y": base64url(point.y, size)}


RSA: dict[str, Any] = {"kty": "RSA", "n": base64url((1 << 2047) | 1), "e": "AQAB"}
POINT = curve_key(ec.SECP256R1(), "P-256")
EDWARDS = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": base64url(int.from_bytes(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()), 32),
}


@pytest.mark.parametrize(
    "key",
    [
        RSA,
        RSA | {"alg": "PS384", "use": "sig", "kid": "1", "x5c": ["MII"]},
        POINT,
        POINT | {"alg": "ES256"},
        curve_key(ec.SECP384R1(), "P-384"),
        curve_key(ec.SECP521R1(), "P-521"),
        EDWARDS,
    ],
    ids=lambda key: f"{key['kty']} {key.get('crv')} {key.get('alg')}",
)
def test_a_public_key_that_verifies_tokens_is_taken_as_it_is(key: dict[str, Any]) -> None:
    text = json.dumps({"keys": [RSA, key]})
    assert check_key_set(text) == text


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (1, "kty"),
        ({}, "kty"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "kty"),
        (RSA | {"n": 5}, "n must be a text"),
        (RSA | {"n": ""}, "n must be a text"),
        (RSA | {"n": RSA["n"] + "=="}, "n must be a text"),
        (RSA | {"n": RSA["n"][:-1] + "+"}, "n must be a text"),
        (RSA | {"n": "AQAB"}, "n must be an odd number"),
        (RSA | {"n": base64url(1 << 2047)}, "n must be an odd number"),
        (RSA | {"n": base64url((1 << 17000) | 1)}, "n must be an odd number"),
        ({"kty": "RSA", "n": RSA["n"]}, "e must be a text"),
        (RSA | {"e": "AQ"}, "e must be an odd number"),
        (RSA | {"e": base64url((1 << 34) | 1)}, "e must be an odd number"),
        (RSA | {"alg": "ES256"}, "alg 'ES256'"),
        (POINT | {"crv": "secp256k1"}, "crv must be one of"),
        (POINT | {"alg": "ES384"}, "alg 'ES384'"),
        (POINT | {"y": POINT["x"]}, "no point of P-256"),
        (EDWARDS | {"crv": "X25519"}, "crv must be Ed25519"),
        (EDWARDS | {"x": "AQAB"}, "x must be 32 bytes"),
    ],
)
def test_a_key_that_envoy_can_not_read_is_refused_with_its_place(key: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r"keys\[1\] must be a public key: ") as raised:
        check_key_set(json.dumps({"keys": [RSA, key]}))
    assert reason in str(raised.value)


def test_a_set_that_envoys_parser_finds_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper than 16"):
        check_key_set(json.dumps({"keys": [RSA], "more": deep}))
