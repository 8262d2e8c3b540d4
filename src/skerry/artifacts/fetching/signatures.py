"""Whether code is signed with a key: cosign's signatures of images, and detached signatures of files.

Reads a PEM public key (ECDSA on P-256, Ed25519, RSA of 2048 bits or more) and checks what
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md defines: each layer of the image
`<repository>:sha256-<digest>.sig` is a payload ("simple signing"), its signature an annotation beside it. A file's
signature stands beside it, at `<url>.sig`, in base64. Pure.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from skerry.artifacts.errors import SignatureError

SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
#: Signatures of one image that are looked at.
SIGNATURES_MAX = 32
#: Far above any payload, and any signature in base64.
PAYLOAD_BYTES_MAX = 64 * 1024
_PAYLOAD_TYPE = "cosign container image signature"
_RSA_BITS_MIN = 2048

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures of one key."""

    key: PublicKey

    def is_signed(self, content: bytes, signature: str) -> bool:
        """Tell whether a signature in base64 is this key's, of this content."""
        try:
            raw = base64.b64decode("".join(signature.split()), validate=True)
        except (binascii.Error, ValueError):
            return False
        try:
            match self.key:
                case ec.EllipticCurvePublicKey():
                    self.key.verify(raw, content, ec.ECDSA(SHA256()))
                case ed25519.Ed25519PublicKey():
                    self.key.verify(raw, content)
                case rsa.RSAPublicKey():
                    self.key.verify(raw, content, padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def load_verifier(pem: str) -> Verifier:
    """Read a public key; raises SignatureError that says what kinds are accepted."""
    accepted = "spec.verificationKey must be a PEM public key: ECDSA P-256, Ed25519, or RSA of 2048 bits or more"
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(accepted) from error
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return Verifier(key)
        case ed25519.Ed25519PublicKey():
            return Verifier(key)
        case rsa.RSAPublicKey() if key.key_size >= _RSA_BITS_MIN:
            return Verifier(key)
        case _:
            raise SignatureError(accepted)


def signature_tag(digest: str) -> str:
    """Return the tag at which cosign keeps the signatures of a manifest."""
    return f"sha256-{digest}.sig"


def names_digest(payload: bytes, digest: str) -> bool:
    """Tell whether a payload of simple signing is about the manifest of this digest."""
    try:
        document: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    match document:
        case {"critical": {"type": str(kind), "image": {"docker-manifest-digest": str(named)}}}:
            return kind == _PAYLOAD_TYPE and named == f"sha256:{digest}"
        case _:
            return False
