"""Signatures: which keys count, and of what."""

import base64

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skerry.artifacts.errors import SignatureError
from skerry.artifacts.fetching.signatures import load_verifier, names_digest, signature_tag
from skerry.testing.images import SigningKey, sign

KEYS: list[SigningKey] = [
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]


def pem(key: SigningKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("key", KEYS, ids=["ecdsa", "ed25519", "rsa"])
def test_a_signature_holds_for_its_key_and_its_content_alone(key: SigningKey) -> None:
    signature = sign(key, b"module")
    assert load_verifier(pem(key)).is_signed(b"module", signature + "\n")
    assert not load_verifier(pem(key)).is_signed(b"other", signature)
    for other in KEYS:
        assert load_verifier(pem(other)).is_signed(b"module", signature) is (other is key)


@pytest.mark.parametrize("signature", ["", "!!!", "AAAA", base64.b64encode(bytes(64)).decode(), "é"])
def test_what_is_no_signature_does_not_hold(signature: str) -> None:
    for key in KEYS:
        assert not load_verifier(pem(key)).is_signed(b"module", signature)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no key",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - it is to be refused
    ],
    ids=["empty", "text", "damaged", "P-384", "RSA of 1024 bits"],
)
def test_what_is_no_key_of_an_accepted_kind_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(SignatureError, match="ECDSA P-256, Ed25519, or RSA"):
        load_verifier(text)


def payload(**critical: object) -> bytes:
    whole = {
        "image": {"docker-manifest-digest": "sha256:" + "ab" * 32},
        "type": "cosign container image signature",
        **critical,
    }
    return orjson.dumps({"critical": whole})


def test_a_payload_is_about_one_manifest() -> None:
    assert names_digest(payload(), "ab" * 32)
    assert not names_digest(payload(), "cd" * 32)
    assert not names_digest(payload(type="something else"), "ab" * 32)
    assert not names_digest(payload(image={}), "ab" * 32)
    assert not names_digest(b"[]", "ab" * 32)
    assert not names_digest(b"{", "ab" * 32)


def test_the_tag_of_signatures_is_the_digest_as_cosign_writes_it() -> None:
    assert signature_tag("ab") == "sha256-ab.sig"
