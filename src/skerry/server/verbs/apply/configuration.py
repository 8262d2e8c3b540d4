"""The body of a server-side apply: what a manager wants of an object, checked before anything is merged."""

from dataclasses import dataclass
from typing import Any

from skerry.api.decoding import without_nulls
from skerry.api.errors import BadRequest, Invalid
from skerry.api.fields import type_invalid
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.verbs.apply.merging import known, list_errors
from skerry.server.verbs.apply.schema import shape_of


@dataclass(frozen=True, slots=True)
class Configuration:
    """An applied configuration, as parsed from its body."""

    document: Document

    def for_endpoint(self, kind: Kind[Any], subresource: str) -> tuple[Document, tuple[str, ...]]:
        """Return what of the configuration the endpoint takes, and the paths of fields that the kind does not have.

        Raises:
            BadRequest: it is of another version, or carries managedFields.
            Invalid: a list in it can't be merged.
        """
        document = self.document
        version, metadata = document.get("apiVersion") or "", document.get("metadata")
        if version != kind.api_version:
            raise BadRequest(
                "Incorrect version specified in apply patch. "
                f"Specified patch version: {version}, expected: {kind.api_version}"
            )
        name = metadata.get("name") if isinstance(metadata, dict) else ""
        if metadata is not None and not isinstance(metadata, dict):
            raise Invalid.of(kind.kind, kind.group, "", [type_invalid("metadata", metadata, "object")])
        if metadata and metadata.get("managedFields") is not None:
            raise BadRequest("metadata.managedFields must be nil")
        shape = shape_of(kind)
        config, unknown = known(_of_endpoint(without_nulls(document), kind, subresource), shape)
        if errors := list(list_errors(config, shape)):
            raise Invalid.of(kind.kind, kind.group, str(name or ""), errors)
        return config, tuple(unknown)


def _of_endpoint(document: Document, kind: Kind[Any], subresource: str) -> Document:
    """Leave out what the endpoint does not write: status, or all but status."""
    if subresource == "status":
        return {name: item for name, item in document.items() if name in {"apiVersion", "kind", "metadata", "status"}}
    return {name: item for name, item in document.items() if name != "status" or not kind.has_status}


def configuration(body: Any) -> Configuration:
    """Read an applied configuration; raises BadRequest unless it is an object."""
    if not isinstance(body, dict):
        raise BadRequest("an apply patch must be an object")
    return Configuration(body)
