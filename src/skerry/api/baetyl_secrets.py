"""Secrets, registries and certificates of a fleet: core/v1 Secrets, told apart by the label `secret-type`. Pure.

Owns the label and which keys each type has. Does not own secrets: they are core/v1's, and serve every front door.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from skerry.api.fields import FieldError, not_supported, required

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


def typed_secret_errors(labels: Mapping[str, str] | None, keys: Iterable[str]) -> Iterator[FieldError]:
    """Yield what a secret with these labels breaks by the keys of its data; one without the label breaks nothing."""
    secret_type = (labels or {}).get(TYPE_LABEL)
    if secret_type is None:
        return
    if secret_type not in REQUIRED_KEYS:
        yield not_supported(f"metadata.labels[{TYPE_LABEL}]", secret_type, REQUIRED_KEYS)
        return
    given = set(keys)
    for key in REQUIRED_KEYS[secret_type]:
        if key not in given:
            yield required(f"data[{key}]", f"a secret of the type {secret_type} needs it")
