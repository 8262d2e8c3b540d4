"""Who this node is to registries of images: by the secrets of an application that its registries name. Pure."""

import base64
import binascii
from collections.abc import Sequence

import orjson

from skerry.agent.member.documents import RegistryLogin, Resource
from skerry.agent.member.errors import ApplicationError
from skerry.api.baetyl_secrets import TYPE_LABEL
from skerry.api.code_urls import OciReference, parse_code_url
from skerry.artifacts.fetching.credentials import Credentials, credentials_for


def login_of(secret: Resource) -> RegistryLogin | None:
    """Return what a secret says about a registry; None for a secret about anything else.

    Raises:
        ApplicationError: it is not as the secret of a registry has to be.
    """
    if (secret.labels or {}).get(TYPE_LABEL) != "registry":
        return None
    try:
        told = [base64.b64decode((secret.data or {})[key]).decode() for key in ("address", "username", "password")]
    except (KeyError, UnicodeDecodeError, binascii.Error) as error:
        raise ApplicationError(f"registry {secret.name}: it needs an address, a username and a password") from error
    return RegistryLogin(*told)


def credentials_of(image: str, logins: Sequence[RegistryLogin]) -> Credentials | None:
    """Return who this node is to the registry that has an image; None for nobody. Raises ApplicationError."""
    auths = {each.address: {"username": each.username, "password": each.password} for each in logins}
    try:
        reference = parse_code_url(f"oci://{image}")
    except ValueError as error:
        raise ApplicationError(f"image {image}: {error}") from error
    if not isinstance(reference, OciReference):
        return None
    return credentials_for(orjson.dumps({"auths": auths}), reference)
