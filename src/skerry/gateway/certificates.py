"""Which certificate a listener presents: the Secret it names, checked before Envoy sees it.

A key that does not fit its certificate is refused here, with a sentence; Envoy would keep the whole listener waiting.
"""

import base64
import binascii
from collections.abc import Mapping

from skerry.api.core_v1 import Secret
from skerry.gateway import ir
from skerry.kit.key_pairs import PairError, Part, check_pair

TLS_SECRET_TYPE = "kubernetes.io/tls"  # noqa: S105 - a type's name
_NAMES: Mapping[Part, str] = {"certificate": "tls.crt", "key": "tls.key"}


def certificate_of(secret: Secret) -> ir.Certificate:
    """Return the certificate in a Secret; raises ValueError with what is wrong with it."""
    if secret.type != TLS_SECRET_TYPE:
        raise ValueError(f"its type is {secret.type}, not {TLS_SECRET_TYPE}")
    chain, key = _decoded(secret, "tls.crt"), _decoded(secret, "tls.key")
    try:
        check_pair(chain, key)
    except PairError as error:
        raise ValueError(f"{_NAMES[error.part]} {error.problem}") from None
    return ir.Certificate(name=f"{secret.namespace}/{secret.name}", chain=chain, key=key)


def _decoded(secret: Secret, key: str) -> bytes:
    try:
        return base64.b64decode((secret.data or {}).get(key, ""), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{key} is not base64") from None
