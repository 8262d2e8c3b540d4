"""A certificate and a key: whether they are a pair."""

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from skerry.kit.key_pairs import PairError, check_pair


def certificate_of(key: Any, of: Any = None) -> bytes:
    name, start = x509.Name([]), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, (of or key).public_key(), 1)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=1))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def pem_of(key: Any, how: KeySerializationEncryption | None = None) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption()))


CURVE = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("kind", ["ec", "ed25519", "rsa"])
def test_a_key_of_each_kind_fits_its_certificate(kind: str):
    makers = {"ec": lambda: CURVE, "ed25519": ed25519.Ed25519PrivateKey.generate}
    key = makers.get(kind, lambda: rsa.generate_private_key(65537, 2048))()
    check_pair(certificate_of(key), pem_of(key))
    check_pair(certificate_of(key) + certificate_of(OTHER), pem_of(key))


@pytest.mark.parametrize(
    ("certificate", "key", "part"),
    [
        (b"x", pem_of(CURVE), "certificate"),
        (b"", pem_of(CURVE), "certificate"),
        (pem_of(CURVE), pem_of(CURVE), "certificate"),
        (certificate_of(CURVE), b"x", "key"),
        (certificate_of(CURVE), certificate_of(CURVE), "key"),
        (certificate_of(CURVE), pem_of(CURVE, BestAvailableEncryption(b"secret")), "key"),
        (certificate_of(CURVE), pem_of(OTHER), "key"),
        (certificate_of(OTHER) + certificate_of(CURVE), pem_of(CURVE), "key"),
    ],
    ids=["text", "nothing", "a key", "no key", "no key but PEM", "locked", "another's", "the second of a chain"],
)
def test_what_is_no_pair_is_told_by_its_part_and_never_quoted(certificate: bytes, key: bytes, part: str):
    with pytest.raises(PairError) as wrong:
        check_pair(certificate, key)
    assert wrong.value.part == part
    assert "BEGIN" not in str(wrong.value)
    assert wrong.value.__cause__ is None


def test_the_numbers_of_an_rsa_key_are_not_examined():
    """That takes seconds where the key is large, and whoever sends one would hold up all others."""
    e, p, q = 65537, 3**640, rsa.generate_private_key(65537, 2048).private_numbers().q  # p is no prime
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q))
    forged = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    with pytest.raises(ValueError, match="Invalid private key"):
        load_pem_private_key(pem_of(forged), None)
    check_pair(certificate_of(CURVE, of=forged), pem_of(forged))
