"""Our own kinds, told as definitions: what Terraform, plugins of kubectl and generators of code look for.

They are objects in the log like any other definition, so that get, list, watch and tables need to know nothing of
them; nobody but this module writes them (`verbs.admission.refuse_built_in`). Each start brings them up to date.
"""

from typing import Any

import orjson

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.json_path import JsonPath
from skerry.api.kinds import Column, Kind
from skerry.api.model import Document
from skerry.api.registry import DEFINED_KINDS
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.ids import Ids
from skerry.kit.logs import get_logger
from skerry.server.kube.openapi.inline import structural_schemas
from skerry.server.verbs.stored import encode
from skerry.store.errors import Conflict
from skerry.store.log import RevisionLog
from skerry.store.records import Entry, Key

log = get_logger(__name__)


async def publish_definitions(revision_log: RevisionLog, clock: Clock, ids: Ids) -> None:
    """Write the definition of every kind of ours that is not in the log as it is now."""
    schemas = structural_schemas(list(DEFINED_KINDS.values()))
    for kind in DEFINED_KINDS.values():
        key = Key(CUSTOM_RESOURCE_DEFINITION.resource, "", kind.resource)
        entry = await revision_log.get(key)
        spec = _spec(kind, schemas[kind.resource])
        new = encode(_definition(spec, entry, rfc3339(clock.now()), ids))
        if entry is not None and entry.value == new:
            continue
        try:
            await revision_log.put(key, new, expected_revision=entry.revision if entry else 0)
        except Conflict:
            log.info("another replica published the definition", kind=kind.kind)


def _definition(spec: Document, entry: Entry | None, now: str, ids: Ids) -> Document:
    """Return the definition of a kind that has this spec; one that is there already keeps its identity."""
    old: Document = orjson.loads(entry.value) if entry else {}
    name = f"{spec['names']['plural']}.{spec['group']}"
    metadata = old.get("metadata") or {"name": name, "uid": ids.uid(), "creationTimestamp": now}
    generation = metadata.get("generation", 0) + (old.get("spec") != spec)
    since = metadata["creationTimestamp"]
    return {
        "metadata": {**metadata, "generation": generation},
        "apiVersion": CUSTOM_RESOURCE_DEFINITION.api_version,
        "kind": CUSTOM_RESOURCE_DEFINITION.kind,
        "spec": spec,
        "status": {
            "conditions": [
                _condition("NamesAccepted", "NoConflicts", "no conflicts found", since),
                _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", since),
            ],
            "acceptedNames": spec["names"],
            "storedVersions": [version["name"] for version in spec["versions"]],
        },
    }


def _spec(kind: Kind[Any], schema: Document) -> Document:
    names: Document = {
        "plural": kind.plural,
        "singular": kind.singular,
        "kind": kind.kind,
        "listKind": kind.list_kind,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    version: Document = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    if kind.has_status:
        version["subresources"] = {"status": {}}
    if columns := [told for column in kind.columns if (told := _column(column))]:
        version["additionalPrinterColumns"] = columns
    return {
        "group": kind.group,
        "names": names,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "versions": [version],
        "conversion": {"strategy": "None"},
    }


def _column(column: Column) -> Document | None:
    """Return a column as a definition has it; None for one that is computed."""
    if not isinstance(column.value, JsonPath):
        return None
    told = {"name": column.name, "type": column.type, "jsonPath": column.value.text}
    if column.description:
        told["description"] = column.description
    return told | ({"priority": column.priority} if column.priority else {})


def _condition(condition_type: str, reason: str, message: str, since: str) -> Document:
    return {
        "type": condition_type,
        "status": "True",
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
