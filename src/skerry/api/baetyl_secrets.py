"""Secrets, registries and certificates of a fleet: core/v1 Secrets, told apart by the label `secret-type`. Pure.

Owns the label, which keys each type has, what they hold, and how much. Does not own secrets: they are core/v1's, and
serve every front door.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal

from skerry.api.fields import FieldError, invalid, not_supported, required, too_long
from skerry.kit.key_pairs import PairError, check_pair

TYPE_LABEL: Final = "secret-type"

SecretType = Literal["config", "registry", "certificate"]

#: The keys that a secret of a type must have.
REQUIRED_KEYS: Mapping[str, tuple[str, ...]] = {
    "config": (),
    "registry": ("address", "username", "password"),
    "certificate": ("key", "certificate"),
}
#: The annotation that holds a description, for which core/v1 has no field.
DESCRIPTION_ANNOTATION: Final = "cloud.baetyl.io/description"


#: Of all keys and values of a secret of a fleet together: it goes to every node that mounts it. Upstream's own bound.
DATA_BYTES_MAX: Final = 64 * 1024


def data_bytes(data: Mapping[str, bytes]) -> int:
    """Return what is measured against `DATA_BYTES_MAX`."""
    return sum(len(key.encode()) + len(value) for key, value in data.items())


def typed_secret_errors(
    labels: Mapping[str, str] | None, keys: Iterable[str], data: Mapping[str, bytes]
) -> Iterator[FieldError]:
    """Yield what a secret with these labels breaks; one without the label breaks nothing.

    Args:
        labels: of the secret.
        keys: of its data.
        data: what of that can be read.
    """
    secret_type = (labels or {}).get(TYPE_LABEL)
    if secret_type is None:
        return
    if secret_type not in REQUIRED_KEYS:
        yield not_supported(f"metadata.labels[{TYPE_LABEL}]", secret_type, REQUIRED_KEYS)
        return
    given = {key for key in keys if data.get(key) != b""}
    for key in REQUIRED_KEYS[secret_type]:
        if key not in given:
            yield required(f"data[{key}]", f"a secret of the type {secret_type} needs it")
    if data_bytes(data) > DATA_BYTES_MAX:
        yield too_long("data", DATA_BYTES_MAX)
    elif (check := _CONTENT_CHECKS.get(secret_type)) and set(REQUIRED_KEYS[secret_type]) <= given & data.keys():
        yield from check(data)


def _pair_errors(data: Mapping[str, bytes]) -> Iterator[FieldError]:
    try:
        check_pair(data["certificate"], data["key"])
    except PairError as error:
        fix = "give a certificate and its own key, both in PEM, the key without a password"
        yield invalid(f"data[{error.part}]", "<secret contents redacted>", f"{error.problem}: {fix}")


#: What is looked at in a secret of a type that has its keys.
_CONTENT_CHECKS: Mapping[str, Callable[[Mapping[str, bytes]], Iterator[FieldError]]] = {"certificate": _pair_errors}
