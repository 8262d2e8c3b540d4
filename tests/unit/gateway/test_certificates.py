import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.api.core_v1 import Secret
from skerry.api.model import ObjectMeta
from skerry.gateway.certificates import certificate_of


def pair() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.test")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, form, plain
    )


def secret(chain: bytes, key: bytes, kind: str = "kubernetes.io/tls") -> Secret:
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    return Secret(metadata=ObjectMeta(name="a", namespace="default"), type=kind, data=data)


def test_a_tls_secret_is_a_certificate() -> None:
    chain, key = pair()
    found = certificate_of(secret(chain, key))
    assert (found.name, found.chain, found.key) == ("default/a", chain, key)


CHAIN, KEY = pair()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (secret(CHAIN, KEY, "Opaque"), "its type is Opaque"),
        (secret(b"x", KEY), "tls.crt is not a PEM certificate"),
        (secret(CHAIN, b"x"), "tls.key is not an unencrypted PEM private key"),
        (secret(CHAIN, pair()[1]), "tls.key does not belong to the certificate"),
        (Secret(type="kubernetes.io/tls", data={"tls.crt": "?", "tls.key": "?"}), "tls.crt is not base64"),
    ],
)
def test_what_envoy_would_choke_on_is_refused_with_a_sentence(given: Secret, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certificate_of(given)
