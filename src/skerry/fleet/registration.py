"""Registration: which device may join as what, and what is told of it. Decisions only, no I/O.

Owns what a proof is, whether a device showed what its product asks for, and the request of a callback. Does not own
the order of an activation's steps, nor their writes (`server.baetyl.activation`).
"""

import hmac
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson

from skerry.api.baetyl_registration import (
    CALLBACK_ITEMS_MAX,
    Callback,
    Fingerprint,
    Product,
    Record,
    RecordSpec,
    record_object_name,
)
from skerry.api.model import ObjectMeta, OwnerReference
from skerry.kit.errors import SkerryError

#: The bits of `Fingerprint.type`, and what agents call them.
PROOFS: Mapping[int, str] = {
    1: "sn",
    2: "input",
    4: "hostName",
    8: "bootID",
    16: "systemUUID",
    32: "machineID",
}


class ProofRefused(SkerryError):
    """A device did not show what its product asks for."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One way in which a device can tell who it is.

    Attributes:
        proof: its name to agents.
        value: the name of the file that holds a serial number, or of the field that a person fills in; else "".
    """

    proof: str
    value: str


def proofs_of(fingerprint: Fingerprint) -> list[Proof]:
    """Return all ways in which a device of a product can tell who it is, in the order of their bits."""
    values = {"sn": posixpath.basename(fingerprint.sn_path), "input": fingerprint.input_field}
    return [Proof(name, values.get(name, "")) for bit, name in PROOFS.items() if fingerprint.type & bit]


def require_proof(product: Product, security_type: str, security_value: str) -> None:
    """Check what a device showed, in a time that tells nothing of how close a guess was.

    Raises:
        ProofRefused: it is not what the product asks for; the sentences are upstream's.
    """
    spec = product.spec
    if not hmac.compare_digest(spec.security_type.encode(), security_type.encode()):
        raise ProofRefused("SecurityType error")
    if spec.security_type == "Token" and not hmac.compare_digest(spec.security_key.encode(), security_value.encode()):
        raise ProofRefused("SecurityValue error")


def new_record(
    product: Product, fingerprint: str, *, name: str = "", node_name: str = "", self_registered: bool = False
) -> Record:
    """Return the record of a device; it goes when its product does."""
    owner = OwnerReference(api_version=product.api_version, kind=product.kind, name=product.name, uid=product.uid)
    return Record(
        metadata=ObjectMeta(
            name=record_object_name(product.name, fingerprint), namespace=product.namespace, owner_references=[owner]
        ),
        spec=RecordSpec(
            batch_name=product.name,
            name=name or fingerprint,
            fingerprint_value=fingerprint,
            node_name=node_name or fingerprint.lower(),
            self_registered=self_registered,
        ),
    )


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """A request over HTTP.

    Attributes:
        body: JSON; empty where the method has none.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def callback_request(callback: Callback, sent_along: Mapping[str, str]) -> CallbackRequest:
    """Return the request that tells of an activation.

    Args:
        callback: whom to tell.
        sent_along: what the device gave (`penetrateData`); its members win over those that the callback has. Of more
            than `CALLBACK_ITEMS_MAX`, the first.
    """
    spec = callback.spec
    parts = urlsplit(spec.url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *(spec.params or {}).items()])
    members = {**(spec.body or {}), **dict(list(sent_along.items())[:CALLBACK_ITEMS_MAX])}
    has_body = spec.method != "GET"
    headers = {"content-type": "application/json"} if has_body else {}
    return CallbackRequest(
        spec.method,
        urlunsplit(parts._replace(query=query)),
        {**headers, **(spec.header or {})},
        orjson.dumps(members) if has_body else b"",
    )
