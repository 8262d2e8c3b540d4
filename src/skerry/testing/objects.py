"""Objects as tests make them and wait for them through the API, where they are about something else than kubectl."""

from typing import Any

import httpx
import orjson

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.api.registry import KINDS

DEFAULT_NAMESPACE = "default"
#: How long a condition may take on a busy machine.
CONDITION_SECONDS_MAX = 120
_MANAGER = "tests"


def apply(http: httpx.Client, document: Document) -> None:
    """Apply a document, or the items of a list; raises AssertionError with what is wrong with it."""
    if document["kind"] == "List":
        for item in document["items"]:
            apply(http, item)
        return
    [kind] = [each for each in KINDS if (each.api_version, each.kind) == (document["apiVersion"], document["kind"])]
    metadata = document["metadata"]
    answer = http.patch(
        kind.path(metadata.get("namespace", DEFAULT_NAMESPACE), metadata["name"]),
        params={"fieldManager": _MANAGER, "force": "true", "fieldValidation": "Strict"},
        content=orjson.dumps(document),
        headers={"content-type": "application/apply-patch+yaml"},
    )
    assert answer.is_success, answer.text  # noqa: S101 - a test's failure


def until_true(http: httpx.Client, name: str, condition: str) -> None:
    """Wait until a condition of an object of the default namespace is True.

    Args:
        http: asks the API.
        name: of the object, after a name of its kind, such as "edgefunction/hello".
        condition: its type.
    """
    named, _, name = name.partition("/")
    kind = _kind_named(named.lower())
    watched = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(CONDITION_SECONDS_MAX)}
    last: Any = None
    with http.stream("GET", kind.path(DEFAULT_NAMESPACE), params=watched) as answer:
        for line in answer.iter_lines():
            last = orjson.loads(line)["object"]
            if _holds(last, condition):
                return
    raise AssertionError(f"{condition} of {named}/{name} did not become True: {last}")


def _holds(document: Document, condition: str) -> bool:
    status, generation = document.get("status", {}), document["metadata"].get("generation", 0)
    if status.get("observedGeneration", generation) < generation:
        return False
    return any(
        found["type"] == condition
        and found["status"] == "True"
        and found.get("observedGeneration", generation) >= generation
        for found in status.get("conditions", ())
    )


def _kind_named(named: str) -> Kind[Any]:
    [kind] = [
        each
        for each in KINDS
        if named in {each.singular, each.plural, *each.short_names, f"{each.plural}.{each.group}"}
    ]
    return kind
