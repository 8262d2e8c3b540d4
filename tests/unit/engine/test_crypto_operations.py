"""What a worker starts with, and what is asked of the host in other ways than `web/crypto.js` has it."""

import json
import subprocess
import sys

import pytest

from skerry.engine.crypto_keys import Curve, KeyFormError
from skerry.engine.crypto_operations import DATA_BYTES_MAX, HEAD_BYTES_MAX, CryptoError, CryptoQuestion, check_lengths


def test_a_worker_starts_without_what_computes():
    code = """import sys, skerry.engine.worker
from skerry.engine.crypto_operations import CryptoQuestion
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
        ({"operation": "generateRsa"}, b"", True),
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
        Curve("P-256").converted(jwk, "jwk", "spki")
