"""Who the control plane is to a registry: from a docker configuration to one user and password.

Reads the `auths` of a configuration, as docker, podman and kubectl write it:

    {"auths": {"registry.example:5000": {"auth": "<base64 of user:password>"}, "https://index.docker.io/v1/": {...}}}

Does not run credential helpers (`credsStore`, `credHelpers`): they are programs of whoever wrote the file. Pure.

Invariant: credentials are for the registry that their key names, or for a part of its repositories, and no other.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from skerry.api.code_urls import DOCKER_HUB, OciReference
from skerry.artifacts.errors import FetchError

#: What Docker Hub is called in configurations.
_DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, or a refresh token (`identity_token`) that stands for them."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def credentials_for(configuration: bytes, reference: OciReference) -> Credentials | None:
    """Return the credentials of a docker configuration for a repository, the most specific key's; None for none.

    Raises:
        FetchError: CredentialsInvalid: the configuration can't be read; the message tells nothing of its content.
    """
    try:
        auths = orjson.loads(configuration).get("auths", {})
        entries = {_normalised(key): entry for key, entry in auths.items()}
    except (AttributeError, ValueError) as error:
        raise _unreadable("must be a JSON object, and so must its field auths") from error
    parts = [reference.registry, *reference.repository.split("/")]
    for length in range(len(parts), 0, -1):
        entry = entries.get("/".join(parts[:length]))
        if entry is not None:
            return _read(entry)
    return None


def _normalised(key: str) -> str:
    """Bring a key to the form host[:port][/path]: `https://index.docker.io/v1/` becomes `docker.io`."""
    parts = urlsplit(key if "://" in key else f"//{key}")
    path = parts.path.strip("/")
    host = DOCKER_HUB if parts.netloc in _DOCKER_HUB_NAMES else parts.netloc.lower()
    return f"{host}/{path}" if path and path not in {"v1", "v2"} else host


def _read(entry: Any) -> Credentials | None:
    if not isinstance(entry, dict):
        raise _unreadable("each entry of auths must be an object")
    username, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, TypeError, ValueError) as error:
            raise _unreadable("auth must be the base64 of user:password") from error
    token = entry.get("identitytoken") or ""
    if not all(isinstance(value, str) for value in (username, password, token)):
        raise _unreadable("username, password and identitytoken must be strings")
    return Credentials(username, password, token) if username or token else None


def _unreadable(what: str) -> FetchError:
    return FetchError("CredentialsInvalid", f"the docker configuration with the credentials can't be read: {what}")
