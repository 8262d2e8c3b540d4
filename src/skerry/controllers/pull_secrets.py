"""Credentials for registries from Secrets, as Kubernetes keeps them."""

import base64
import binascii

from skerry.api.core_v1 import Secret
from skerry.artifacts.errors import FetchError

PULL_SECRET_TYPE = "kubernetes.io/dockerconfigjson"  # noqa: S105 - the name of a type
_KEY = ".dockerconfigjson"


def docker_config_in(secret: Secret | None, where: str) -> bytes:
    """Return the docker configuration that a Secret holds.

    Args:
        secret: None where there is no such Secret.
        where: what names it, for errors; they tell nothing of its content.

    Raises:
        FetchError: CredentialsInvalid: it is missing, of another type, or holds none.
    """
    if secret is None:
        raise FetchError("CredentialsInvalid", f"{where} does not exist")
    if secret.type != PULL_SECRET_TYPE:
        raise FetchError("CredentialsInvalid", f"{where} must be of type {PULL_SECRET_TYPE}, not {secret.type}")
    try:
        return base64.b64decode((secret.data or {})[_KEY], validate=True)
    except (KeyError, binascii.Error) as error:
        raise FetchError("CredentialsInvalid", f"{where} has no {_KEY} that can be read") from error


__all__ = ["PULL_SECRET_TYPE", "docker_config_in"]
