"""Our own certificate authority, and the certificate of this server. ECDSA P-256 throughout.

The authority is made once and kept, because every kubeconfig embeds it. The server's certificate is made again
before it ends, and when the names that the server goes by change; a running server takes the new one for its next
handshakes. All files lie in one private directory, each with mode 0600.
"""

import base64
import datetime as dt
import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skerry.kit.clock import Clock
from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory, write_private
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, keep_running
from skerry.server.plain_http import AnsweringContext

log = get_logger(__name__)

AUTHORITY_DAYS = 3650
#: No client accepts a longer one from a public authority; ours keeps to the same bound.
CERTIFICATE_DAYS = 397
RENEW_BEFORE = dt.timedelta(days=30)
CHECK_SECONDS = 6 * 3600.0
#: Clocks of clients may be behind ours by this much.
CLOCK_SKEW = dt.timedelta(hours=1)

#: The names by which a server on this machine is always reached.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Authority:
    """Our certificate authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate, to be trusted by clients."""
        return self.certificate.public_bytes(Encoding.PEM)

    def derived_key(self, purpose: str) -> bytes:
        """Return a secret of 32 bytes that only who has the authority's key can make; another for each purpose."""
        secret = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return HKDF(hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)


def open_authority(directory: Path, clock: Clock) -> Authority:
    """Load the authority from `ca.crt` and `ca.key`, or make it where neither exists.

    Raises:
        StartError: one of the files is missing, unreadable or damaged.
    """
    certificate_path, key_path = directory / "ca.crt", directory / "ca.key"
    if not certificate_path.exists() and not key_path.exists():
        make_private_directory(directory)
        authority = _new_authority(clock)
        write_private(key_path, key_pem(authority.key))
        write_private(certificate_path, authority.pem)
        return authority
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise StartError(
            f"the certificate authority in {directory} can't be read: restore ca.crt and ca.key, or remove both "
            "(every kubeconfig must then be made anew)",
            detail=str(error),
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise StartError(f"ca.key in {directory} is not the key of ca.crt")
    return Authority(certificate, key)


def _new_authority(clock: Clock) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Skerry CA")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _certificate(name, name, key, (clock.now(), AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: tuple[dt.datetime, int]
) -> x509.CertificateBuilder:
    """Begin a certificate that lives from a moment on for a number of days."""
    start, days = life
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as it is kept: PKCS #8, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class ServerIdentity:
    """The certificate of this server, kept current.

    Args:
        directory: where `server.crt` and `server.key` lie.
        authority: signs it.
        names: host names and IP addresses that clients use, besides `LOCAL_NAMES`.
        clock: tells when it ends.

    Attributes:
        context: for a listening server; follows every renewal.
        public_key_pin: SHA-256 of the present public key in base64, as curl's --pinnedpubkey takes it; likewise.
    """

    def __init__(self, directory: Path, authority: Authority, names: Sequence[str], clock: Clock) -> None:
        self._file = directory / "server.pem"
        self._authority = authority
        self._names = tuple(dict.fromkeys((*LOCAL_NAMES, *names)))
        self._clock = clock
        self.context = AnsweringContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client may show a certificate of ours; one that is not, or has ended, does not get through the handshake.
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.load_verify_locations(cadata=authority.pem.decode())
        self.context.set_alpn_protocols(["http/1.1"])
        self.public_key_pin = ""
        self._load()

    def _load(self) -> None:
        if self._is_due():
            self._issue()
        self.context.load_cert_chain(self._file)
        key = x509.load_pem_x509_certificate(self._file.read_bytes()).public_key()
        shown = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_key_pin = base64.b64encode(hashlib.sha256(shown).digest()).decode()

    def _is_due(self) -> bool:
        """Whether a new certificate is needed: none there, not ours, other names, or near its end."""
        try:
            certificate = x509.load_pem_x509_certificate(self._file.read_bytes())
            certificate.verify_directly_issued_by(self._authority.certificate)
            named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except FileNotFoundError:
            return True
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a new one is the cure
            log.warning("server certificate is unusable, making a new one", error=str(error))
            return True
        if named != _alternative_names(self._names):
            return True
        return certificate.not_valid_after_utc - self._clock.now() < RENEW_BEFORE

    def _issue(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._authority.certificate.subject
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skerry")])
        builder = (
            _certificate(subject, issuer, key, (self._clock.now(), CERTIFICATE_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_alternative_names(self._names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        certificate = builder.sign(self._authority.key, hashes.SHA256())
        # One file for both, so that a crash never leaves a certificate beside another one's key.
        write_private(self._file, certificate.public_bytes(Encoding.PEM) + key_pem(key))
        log.info("made a server certificate", names=self._names)

    async def renew(self) -> None:
        """Make a new certificate if it is time; running servers use it from the next handshake on."""
        if self._is_due():
            self._load()

    async def keep_current(self) -> None:
        """Look after the certificate for ever; `serve` runs this."""
        await keep_running("tls.renew", self.renew, wakeup=Wakeup(), resync_seconds=CHECK_SECONDS)


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
