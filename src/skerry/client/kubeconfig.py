"""Writes a kubeconfig: the file that tells kubectl, and `skerry`, where a server is and what to show it."""

import base64
from collections.abc import Mapping

import yaml

#: The name of the cluster and of the context.
CONTEXT = "skerry"


def kubeconfig(*, url: str, authority_pem: bytes, user: str, credential: Mapping[str, str]) -> bytes:
    """Return a kubeconfig of one cluster and one user, as YAML.

    Args:
        url: of the server.
        authority_pem: the certificate to trust.
        user: what the user entry is called.
        credential: the fields of the user entry, such as `token`.
    """
    authority = base64.b64encode(authority_pem).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": dict(credential)}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
        "current-context": CONTEXT,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()
