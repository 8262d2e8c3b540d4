"""Client certificates: the common name is the user, the organizations are the groups, as in Kubernetes.

TLS lets in only certificates that our authority signed for clients and that are valid at the handshake. A connection
may outlive its certificate, so the end is looked at for each request; the certificate is read once a connection.
A certificate of a user can't be revoked: give it a short life. Those of nodes can (`node_certificates`).
"""

import datetime as dt
import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.kit.clock import Clock
from skerry.server.auth import BAETYL_NODES, CREDENTIAL_ID, ClientCertificate, Credentials, User, authenticated
from skerry.server.tls import CLOCK_SKEW, Authority, key_pem


def read_client_certificate(der: bytes) -> ClientCertificate | None:
    """Read the certificate that a client showed; None where it names no user."""
    certificate = x509.load_der_x509_certificate(der)
    names = _texts(certificate, NameOID.COMMON_NAME)
    if not names or not names[0]:
        return None
    extra = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
    user = User(names[0], groups=tuple(_texts(certificate, NameOID.ORGANIZATION_NAME)), extra=extra)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ClientCertificate(authenticated(user), ends, begins, _uri(certificate))


def _uri(certificate: x509.Certificate) -> str:
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    return next(iter(named.get_values_for_type(x509.UniformResourceIdentifier)), "")


def _texts(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]


class ClientCertificates:
    """An `Authenticator` for the certificate of a request's connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the certificate's user while it is valid; see `Authenticator`."""
        shown = credentials.certificate
        if shown is None or BAETYL_NODES in shown.user.groups:
            return None  # a node's, which may be revoked
        return shown.user if self._clock.now() < shown.ends else None


def issue_client_certificate(
    authority: Authority, user: str, groups: Sequence[str], life: tuple[dt.datetime, dt.datetime], uri: str = ""
) -> tuple[bytes, bytes]:
    """Make a key and a certificate for a user; returns both as PEM, the certificate first.

    Args:
        authority: signs it.
        user: at most 64 characters, as X.509 has it.
        groups: likewise each.
        life: its first and last moment.
        uri: what it is bound to; "" for nothing.

    Raises:
        ValueError: a name does not fit into a certificate.
    """
    key, (start, ends) = ec.generate_private_key(ec.SECP256R1()), life
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    if uri:
        bound = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(bound, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    return certificate.public_bytes(Encoding.PEM), key_pem(key)
