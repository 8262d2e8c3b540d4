"""Objects in files: read them, and bring the server to them.

`apply_document` is a small equivalent of `kubectl apply` for machines without kubectl: the file's content replaces
what the server has, except for what the server itself owns (status, uid, finalizers, owners). It leaves the annotation
that `kubectl apply` leaves, so that the two can take turns.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
import yaml

from skerry.api.errors import Conflict, NotFound
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.api.registry import KINDS, find_kind
from skerry.client.client import CONFLICT_TRIES_MAX
from skerry.client.transport import Target, Transport
from skerry.kit.errors import ConfigurationError

Outcome = Literal["created", "configured", "unchanged"]

#: A manifest file larger than this is no manifest.
FILE_BYTES_MAX = 16 * 1024 * 1024
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SUFFIXES = {".yaml", ".yml", ".json"}
#: Metadata that the server owns, kept from the stored object.
_SERVER_METADATA = ("uid", "resourceVersion", "creationTimestamp", "generation", "finalizers", "ownerReferences")


class Manifest(NamedTuple):
    """One object from a file."""

    kind: Kind[Any]
    document: Document
    origin: str


def read_manifests(path: str, standard_input: Any) -> list[Manifest]:
    """Read every object of a file, of a folder's files, or of standard input for `-`.

    Raises:
        ConfigurationError: naming the file, the document in it, and what is wrong.
    """
    if path == "-":
        with _read_errors("standard input"):
            return list(_parse(standard_input.read(FILE_BYTES_MAX), "standard input"))
    place = Path(path)
    with _read_errors(path):
        if not place.exists():
            raise ConfigurationError(f"there is no file or folder {path}")
        files = sorted(p for p in place.iterdir() if p.suffix in SUFFIXES) if place.is_dir() else [place]
    if not files:
        raise ConfigurationError(f"{path}: no file ends with {', '.join(sorted(SUFFIXES))}")
    manifests: list[Manifest] = []
    for file in files:
        with _read_errors(str(file)):
            if file.stat().st_size > FILE_BYTES_MAX:
                raise ConfigurationError(f"{file}: larger than {FILE_BYTES_MAX} bytes")
            text = file.read_text()
        manifests += _parse(text, str(file))
    return manifests


@contextmanager
def _read_errors(origin: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{origin} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{origin}: not UTF-8, from byte {error.start} on") from error


class _Loader(yaml.SafeLoader):
    """Reads YAML as what JSON can say, as kubectl does: keys are text, and so are times."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library's
        first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep=deep)
        return {key if isinstance(key, str) else orjson.dumps(key).decode(): item for key, item in found.items()}


def _parse(text: str, origin: str) -> Iterator[Manifest]:
    try:
        # As safe as `safe_load_all`, whose loader this is.
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
    except (yaml.YAMLError, orjson.JSONEncodeError) as error:
        raise ConfigurationError(f"{origin}: not valid YAML or JSON: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{origin}: nested too deep") from error
    for number, document in enumerate(documents, 1):
        at = f"{origin} (document {number})"
        items: Any = [document]
        if isinstance(document, dict) and document.get("kind") == "List":
            items = document.get("items")
            if not isinstance(items, list):
                raise ConfigurationError(f"{at}: items: must be a list")
        yield from (_manifest(item, at) for item in items)


def _manifest(document: Any, origin: str) -> Manifest:
    if not isinstance(document, dict):
        raise ConfigurationError(f"{origin}: must be an object with apiVersion, kind and metadata")
    kind = find_kind(str(document.get("apiVersion", "")), str(document.get("kind", "")))
    if kind is None:
        named = f"{document.get('kind')} in version {document.get('apiVersion')}"
        known = ", ".join(f"{k.kind} ({k.api_version})" for k in KINDS)
        raise ConfigurationError(f"{origin}: no kind {named}; known are {known}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise ConfigurationError(f"{origin}: metadata.name: Required value")
    for name, wanted, word in (("name", str, "text"), ("namespace", str, "text"), ("annotations", dict, "an object")):
        if not isinstance(metadata.get(name) or wanted(), wanted):
            raise ConfigurationError(f"{origin}: metadata.{name}: must be {word}")
    return Manifest(kind, document, origin)


def target_of(manifest: Manifest, namespace: str) -> Target:
    """Return where an object belongs; a namespaced one without a namespace goes to `namespace`."""
    metadata = manifest.document["metadata"]
    place = metadata.get("namespace", namespace) if manifest.kind.namespaced else ""
    return Target(manifest.kind, place, metadata["name"])


def _with_last_applied(document: Document, namespace: str) -> Document:
    """Note what was applied, byte for byte as kubectl does: by it, the next apply knows what this one had set."""
    metadata = {**document["metadata"], **({"namespace": namespace} if namespace else {})}
    given = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != LAST_APPLIED}
    applied = {**document, "metadata": {**metadata, "annotations": given}}
    note = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    return {**document, "metadata": {**metadata, "annotations": {**given, LAST_APPLIED: note}}}


async def apply_document(transport: Transport, target: Target, document: Document) -> Outcome:
    """Create or replace one object, whoever writes its status meanwhile; raises ApiError."""
    document = _with_last_applied(document, target.namespace)
    for _ in range(CONFLICT_TRIES_MAX - 1):
        try:
            return await _apply_once(transport, target, document)
        except Conflict:
            continue
    return await _apply_once(transport, target, document)


async def _apply_once(transport: Transport, target: Target, document: Document) -> Outcome:
    try:
        stored = await transport.get(target)
    except NotFound:
        await transport.create(target, document)
        return "created"
    kept = {key: stored["metadata"][key] for key in _SERVER_METADATA if key in stored["metadata"]}
    wanted = {**document, "metadata": {**document["metadata"], **kept}}
    if "status" in stored:
        wanted["status"] = stored["status"]
    after = await transport.replace(target, wanted)
    same = after["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
    return "unchanged" if same else "configured"
