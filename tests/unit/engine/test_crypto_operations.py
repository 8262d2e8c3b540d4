"""What a worker starts with, and what is asked of the host in other ways than `web/crypto.js` has it."""

import base64
import json
import subprocess
import sys

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skerry.engine import crypto_rsa
from skerry.engine.crypto_keys import KeyFormError, curve_of
from skerry.engine.crypto_question import DATA_BYTES_MAX, HEAD_BYTES_MAX, CryptoError, CryptoQuestion, check_lengths


def test_a_worker_starts_without_what_computes():
    code = """import sys, skerry.engine.worker
from skerry.engine.crypto_question import CryptoQuestion
print('cryptography' in sys.modules, CryptoQuestion(b'{"operation": "hkdf"}', b"").is_slow)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert ran.stdout == b"False True\n"


@pytest.mark.parametrize(
    ("head_length", "data_length"), [(HEAD_BYTES_MAX + 1, 0), (0, DATA_BYTES_MAX + 1), (-1, 0), (0, -1)]
)
def test_a_question_without_bounds_is_refused_before_it_is_read(head_length: int, data_length: int):
    with pytest.raises(CryptoError, match="at most"):
        check_lengths(head_length, data_length)


@pytest.mark.parametrize(
    ("asked", "data", "is_slow"),
    [
        ({"operation": "encrypt"}, b"x", False),
        ({"operation": "encrypt"}, bytes(2 << 20), True),
        ({"operation": "pbkdf2"}, b"", True),
        ({"operation": "generate"}, b"", True),
        ({"operation": "sign", "name": "RSA-PSS"}, b"", True),
        ({"operation": "decrypt", "name": "RSA-OAEP"}, b"", True),
        ({"operation": "sign", "name": "ECDSA"}, b"", False),
        ({"operation": "hkdf"}, b"", False),
    ],
)
def test_what_takes_long_is_known_before_it_begins(asked: dict[str, str], data: bytes, *, is_slow: bool):
    assert CryptoQuestion(json.dumps(asked).encode(), data).is_slow is is_slow


@pytest.mark.parametrize(
    "jwk", [b"", b"[]", b"5", b'{"kty": ["EC"]}', b'{"kty": "EC", "crv": "P-256", "x": 5, "y": []}', b'{"kty": "RSA"}']
)
def test_what_is_no_jwk_is_refused_as_one(jwk: bytes):
    with pytest.raises(KeyFormError, match="no key of P-256"):
        curve_of("P-256").converted(jwk, "jwk", "spki")


@pytest.fixture(scope="module")
def jwk() -> dict[str, str]:
    made: dict[str, str] = orjson.loads(crypto_rsa.generated(2048))
    return made


def number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="))


def text(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8 or 1)).rstrip(b"=").decode()


@pytest.mark.parametrize("member", ["n", "d", "p", "q", "dp", "dq", "qi"])
@pytest.mark.parametrize("change", [2, 1 << 700, -(1 << 700)])
def test_numbers_that_do_not_fit_each_other_never_come_to_the_library(jwk: dict[str, str], member: str, change: int):
    changed = {**jwk, member: text(max(0, number(jwk[member]) + change))}
    with pytest.raises(KeyFormError, match="do not fit each other|modulus"):
        crypto_rsa.converted(orjson.dumps(changed), "jwk", "pkcs8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"e": text(4)}, "exponent"),
        ({"e": text(1)}, "exponent"),
        ({"e": text((1 << 64) + 1)}, "exponent"),
        ({"n": text((1 << 2047) + 2), "d": None}, "modulus"),
        ({"n": text((1 << 9000) + 1), "d": None}, "modulus"),
        ({"n": text((1 << 500) + 1), "d": None}, "modulus"),
        ({"p": text(1), "q": None}, "it must have"),
        ({"qi": None}, "it must have"),
        ({"n": 5}, "cannot be read"),
        ({"kty": "EC"}, "cannot be read"),
    ],
)
def test_keys_of_rsa_out_of_bounds_are_refused(jwk: dict[str, str], changes: dict[str, str], told: str):
    with pytest.raises(KeyFormError, match=told):
        crypto_rsa.converted(orjson.dumps({**jwk, **changes}), "jwk", "jwk")


def test_factors_that_are_no_primes_take_no_longer_and_sign_nothing_true():
    p, q = (1 << 1023) + (1 << 1022) + 1, (1 << 1023) + (1 << 1022) + 3
    e = next(e for e in range(3, 1000, 2) if pow_is_there(e, (p - 1) * (q - 1)))
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = {"n": p * q, "e": e, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    key = orjson.dumps({"kty": "RSA", **{name: text(value) for name, value in numbers.items()}})
    with pytest.raises(ValueError, match=r".*"):
        crypto_rsa.decrypted(key, "sha256", b"", bytes(255) + b"2")


def pow_is_there(e: int, modulus: int) -> bool:
    try:
        pow(e, -1, modulus)
    except ValueError:
        return False
    return True


def test_no_key_of_another_kind_is_read_as_one_of_rsa():
    on_curve, discrete = ec.generate_private_key(ec.SECP256R1()), dsa.generate_private_key(2048)
    form = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for der in (on_curve.private_bytes(*form), discrete.private_bytes(*form)):
        with pytest.raises(KeyFormError, match="cannot be read"):
            crypto_rsa.converted(der, "pkcs8", "jwk")


def test_a_key_of_rsa_keeps_its_numbers_through_each_form(jwk: dict[str, str]):
    der = crypto_rsa.converted(orjson.dumps(jwk), "jwk", "pkcs8")
    assert orjson.loads(crypto_rsa.converted(der, "pkcs8", "jwk")) == jwk
    public = {name: jwk[name] for name in ("kty", "n", "e")}
    spki = crypto_rsa.converted(orjson.dumps(public), "jwk", "spki")
    assert orjson.loads(crypto_rsa.converted(spki, "spki", "jwk")) == public
    large = rsa.generate_private_key(65537, 4096)
    assert crypto_rsa.converted(large.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), "pkcs8", "jwk")
