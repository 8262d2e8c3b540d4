"""Certificates with their keys, for applications: core/v1 Secrets of a type of their own. Keys never leave."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from skerry.api.core_v1 import SECRET, Secret
from skerry.api.model import Document, ObjectMeta
from skerry.kit.clock import rfc3339
from skerry.server.baetyl import errors
from skerry.server.baetyl.bodies import Body, Texts, refuse_reserved
from skerry.server.baetyl.door import Asked, Described, Operation
from skerry.server.baetyl.listing import LIST_QUERY, Listing, listed
from skerry.server.baetyl.secrets import (
    change_typed,
    create_typed,
    decoded,
    delete_typed,
    describe,
    encoded,
    get_typed,
    secret_summary,
)
from skerry.server.baetyl.usage import Usage
from skerry.server.http import Response
from skerry.server.operations import json

_COLLECTION = "/v1/certificates"
_ITEM = "/v1/certificates/{name}"
#: As Go calls them, which is what clients know.
_ALGORITHMS = {
    "sha256WithRSAEncryption": "SHA256-RSA",
    "sha384WithRSAEncryption": "SHA384-RSA",
    "sha512WithRSAEncryption": "SHA512-RSA",
    "ecdsa-with-SHA256": "ECDSA-SHA256",
    "ecdsa-with-SHA384": "ECDSA-SHA384",
    "ecdsa-with-SHA512": "ECDSA-SHA512",
    "ed25519": "Ed25519",
}


class PairBody(Body):
    """A certificate and its key, both PEM."""

    key: str = ""
    certificate: str = ""


class CertificateBody(Body):
    """A certificate as it is created or replaced."""

    name: str = ""
    labels: Texts = None
    description: str = ""
    data: PairBody


class Certificates:
    """The handlers of certificates.

    Args:
        usage: tells which applications mount them.
    """

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        one, body = Described("Certificate"), Described("Certificate", CertificateBody)
        return [
            Operation("POST", _COLLECTION, "create", SECRET, self.create, body),
            Operation("GET", _COLLECTION, "list", SECRET, self.list, Described("CertificateList", query=LIST_QUERY)),
            Operation("GET", _ITEM, "get", SECRET, self.get, one),
            Operation("PUT", _ITEM, "update", SECRET, self.replace, body),
            Operation("DELETE", _ITEM, "delete", SECRET, self.delete),
            Operation("GET", f"{_ITEM}/apps", "get", SECRET, self.apps, Described("ApplicationList")),
        ]

    async def create(self, asked: Asked) -> Response:
        """Create a certificate."""
        body = await asked.body(CertificateBody)
        refuse_reserved(body.name)
        secret = Secret(metadata=ObjectMeta(name=body.name, labels=body.labels), data=_pair(body.data))
        return json(_view(await create_typed(asked, secret, "certificate", body.description)))

    async def list(self, asked: Asked) -> Response:
        """List certificates."""
        return json(await listed(asked, CERTIFICATES))

    async def get(self, asked: Asked) -> Response:
        """Get a certificate, less its key."""
        return json(_view(await get_typed(asked, "certificate")))

    async def replace(self, asked: Asked) -> Response:
        """Replace a certificate and its key; a change reaches the applications that mount it."""
        body = await asked.body(CertificateBody)
        pair = _pair(body.data)

        def change(secret: Secret) -> None:
            secret.data = pair
            describe(secret, body.description)

        return json(_view(await change_typed(asked, "certificate", change)))

    async def delete(self, asked: Asked) -> Response:
        """Delete a certificate that no application mounts."""
        return await delete_typed(asked, "certificate")

    async def apps(self, asked: Asked) -> Response:
        """List the applications that mount a certificate."""
        await get_typed(asked, "certificate")
        return json(await self._usage.listed(asked, "secret"))


def _pair(body: PairBody) -> dict[str, str]:
    """Return the data of a secret; raises BaetylError for what is no certificate with its key."""
    if not body.key or not body.certificate:
        raise errors.invalid("data.key and data.certificate are required")
    try:
        key = serialization.load_pem_private_key(body.key.encode(), password=None)
        certificate = x509.load_pem_x509_certificate(body.certificate.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.invalid("data.key and data.certificate must be PEM, the key without a password") from error
    if _spki(key.public_key()) != _spki(certificate.public_key()):
        raise errors.invalid("data.key is not the key of data.certificate")
    return encoded({"key": body.key, "certificate": body.certificate})


def _spki(key: object) -> bytes:
    """Return a public key in the one form that all kinds of keys have."""
    public: bytes = key.public_bytes(  # type: ignore[attr-defined] # every kind of public key has it, and no base says so
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def _summary(secret: Secret) -> Document:
    """Write what a certificate says of itself; of a secret that kubectl made of something else, nothing."""
    written = secret_summary(secret)
    try:
        certificate = x509.load_pem_x509_certificate(decoded(secret).get("certificate", "").encode())
    except ValueError:
        return written
    algorithm = certificate.signature_algorithm_oid._name  # noqa: SLF001 - the library's only word for it
    names = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return {
        **written,
        "signatureAlgorithm": _ALGORITHMS.get(algorithm, algorithm),
        "effectiveTime": rfc3339(certificate.not_valid_before_utc),
        "expiredTime": rfc3339(certificate.not_valid_after_utc),
        "serialNumber": str(certificate.serial_number),
        "issuer": str(names[0].value) if names else "",
        "fingerPrint": certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    }


def _view(secret: Secret) -> Document:
    return {**_summary(secret), "data": {"certificate": decoded(secret).get("certificate", "")}}


CERTIFICATES = Listing(Secret, _summary, "secret-type=certificate")
