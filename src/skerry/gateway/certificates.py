"""Which certificate a listener presents: the Secret it names, checked before Envoy sees it.

A key that does not fit its certificate is refused here, with a sentence; Envoy would keep the whole listener waiting.
"""

import base64
import binascii

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from skerry.api.core_v1 import Secret
from skerry.gateway import ir

TLS_SECRET_TYPE = "kubernetes.io/tls"  # noqa: S105 - a type's name


def certificate_of(secret: Secret) -> ir.Certificate:
    """Return the certificate in a Secret; raises ValueError with what is wrong with it."""
    if secret.type != TLS_SECRET_TYPE:
        raise ValueError(f"its type is {secret.type}, not {TLS_SECRET_TYPE}")
    chain, key = _decoded(secret, "tls.crt"), _decoded(secret, "tls.key")
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise ValueError("tls.crt is not a PEM certificate") from None
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("tls.key is not an unencrypted PEM private key") from None
    if _public_bytes(private.public_key()) != _public_bytes(leaf.public_key()):
        raise ValueError("tls.key does not belong to tls.crt")
    return ir.Certificate(name=f"{secret.namespace}/{secret.name}", chain=chain, key=key)


def _decoded(secret: Secret, key: str) -> bytes:
    try:
        return base64.b64decode((secret.data or {}).get(key, ""), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{key} is not base64") from None


def _public_bytes(key: object) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form)  # type: ignore[attr-defined,no-any-return]  # every kind of key has it
