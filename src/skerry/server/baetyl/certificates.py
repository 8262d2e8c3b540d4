"""Certificates with their keys, for applications: core/v1 Secrets of a type of their own. Keys never leave.

What such a secret must hold is told by its kind (`api.baetyl_secrets`), whoever writes it.
"""

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from skerry.api.core_v1 import SECRET, Secret
from skerry.api.model import Document, ObjectMeta
from skerry.kit.clock import rfc3339
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
        secret = Secret(metadata=ObjectMeta(name=body.name, labels=body.labels), data=encoded(body.data.model_dump()))
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
        pair = encoded(body.data.model_dump())

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
