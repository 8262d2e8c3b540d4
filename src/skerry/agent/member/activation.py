"""Activation: a device of a product proves which one it is, and is told who it is from then on."""

import socket
from pathlib import Path

from skerry.agent.member.errors import LinkError
from skerry.agent.member.link import CloudLink
from skerry.agent.member.settings import Batch, Identity, Proof
from skerry.api.model import Document

#: Of a file with a fingerprint.
FINGERPRINT_BYTES_MAX = 4096

_FILES = {
    "bootID": Path("/proc/sys/kernel/random/boot_id"),
    "systemUUID": Path("/sys/class/dmi/id/product_uuid"),
    "machineID": Path("/etc/machine-id"),
}


async def activate(link: CloudLink, batch: Batch, entered: str) -> Identity:
    """Return who this device is, by the first of its fingerprints that the control plane knows.

    Args:
        link: to the control plane.
        batch: the product that it is one of.
        entered: the fingerprint that a person gave; "" for none.

    Raises:
        LinkError: none can be read, or none is known; the sentence says what became of each.
    """
    failures: list[str] = []
    for fingerprint in batch.fingerprints:
        try:
            answer = await link.activate(_claim(batch, collected(fingerprint.proof, batch.sn_path, entered)))
        except (OSError, LinkError) as error:
            failures.append(f"{fingerprint.proof}: {error}")
            continue
        return _identity(answer)
    raise LinkError(f"this device was not activated: {'; '.join(failures)}")


def collected(proof: Proof, sn_path: Path, entered: str) -> str:
    """Return what tells this device by one proof; raises OSError where that can't be read, or is empty."""
    match proof:
        case "input":
            value = entered
        case "hostName":
            value = socket.gethostname()
        case "sn":
            value = _line_of(sn_path)
        case _:
            value = _line_of(_FILES[proof])
    if not value:
        raise OSError("it is empty")
    return value


def _line_of(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.read(FINGERPRINT_BYTES_MAX).strip()


def _claim(batch: Batch, value: str) -> Document:
    claim: Document = {
        "batchName": batch.name,
        "namespace": batch.namespace,
        "fingerprintValue": value,
        "securityType": batch.security_type,
        "securityValue": batch.security_key,
        "mode": "native",
    }
    return claim | ({"penetrateData": batch.penetrate_data} if batch.penetrate_data else {})


def _identity(answer: Document) -> Identity:
    try:
        return Identity.model_validate({**answer, "name": answer["nodeName"]})
    except (KeyError, ValueError) as error:
        raise LinkError("the control plane's answer to the activation has no identity in it") from error
