"""Whether a certificate and a private key fit together, both PEM: one check for all who take such pairs.

A key's public half is compared with the certificate's. Whether an RSA key's numbers are primes is not looked at: it
takes seconds for a large key, on the event loop, and a key that is broken serves nobody but its owner.
"""

from typing import Literal

#: What of a pair is wrong.
Part = Literal["certificate", "key"]


class PairError(ValueError):
    """They are no pair.

    Attributes:
        part: what is wrong.
        problem: what is wrong with it, as the end of a sentence that begins with its name.
    """

    def __init__(self, part: Part, problem: str) -> None:
        super().__init__(f"the {part} {problem}")
        self.part = part
        self.problem = problem


def check_pair(certificate: bytes, key: bytes) -> None:
    """Raise PairError where the key is not that of the certificate, the first one of a chain."""
    # Imported here because it takes longer than most commands take to run, and commands know every kind.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        certified = x509.load_pem_x509_certificates(certificate)[0].public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        raise PairError("certificate", "is not a PEM certificate") from None
    try:
        public = load_pem_private_key(key, None, unsafe_skip_rsa_key_validation=True).public_key().public_bytes(*form)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PairError("key", "is not an unencrypted PEM private key") from None  # the cause might quote it
    if public != certified:
        raise PairError("key", "does not belong to the certificate")
