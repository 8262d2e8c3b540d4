"""One object under several versions of its kind, which differ in `apiVersion` alone (conversion strategy None).

An object is stored under the version of storage at the time of its last write, and shown under the version of the path.
Kinds with one version, which are all of ours, pay nothing for this.
"""

from typing import Any

import orjson

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.verbs.stored import Stored, encode


def shown(kind: Kind[Any], stored: Stored) -> Stored:
    """Return a stored state as a version of its kind shows it."""
    if not kind.versions:
        return stored
    document: Document = orjson.loads(stored.value)
    if document["apiVersion"] == kind.api_version:
        return stored
    return Stored(encode(_converted(kind, document, kind.api_version)), stored.revision)


def kept(kind: Kind[Any], document: Document) -> Document:
    """Return an object as it is stored."""
    return _converted(kind, document, kind.stored_api_version) if kind.versions else document


def is_kept(kind: Kind[Any], stored: Stored) -> bool:
    """Tell whether a state is in the version of storage; if not, the next write brings it there."""
    return not kind.versions or orjson.loads(stored.value)["apiVersion"] == kind.stored_api_version


def _converted(kind: Kind[Any], document: Document, api_version: str) -> Document:
    """Change the version of an object, and of the fields that its managers own: they are named alike in all."""
    versions = {f"{kind.group}/{version}" for version in kind.versions}
    metadata = document["metadata"]
    if fields := metadata.get("managedFields"):
        entries = [
            entry | {"apiVersion": api_version} if entry.get("apiVersion") in versions else entry for entry in fields
        ]
        metadata = {**metadata, "managedFields": entries}
    return {**document, "apiVersion": api_version, "metadata": metadata}
