"""What a node is shown of an object of its slice: what that is to be, and of its status what nodes do not decide. Pure.

A status also tells what nodes themselves made of the object, and who wrote it when: each node would be told of every
other, and again of itself. So that is left out, and what is shown has a version of its own: a hash of it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EDGE_FUNCTION_REVISION
from skerry.api.istio_extensions_v1alpha1 import WASM_PLUGIN
from skerry.api.model import Document

#: Metadata that says nothing of what an object is to be.
_PASSING = frozenset({"managedFields", "resourceVersion"})
#: Conditions of plugins that the control plane decides.
_OF_CODE = frozenset({"Fetched", "Verified"})
_DECIDED_OF_FUNCTIONS = ("liveRevision", "latestReadyRevision")


@dataclass(frozen=True, slots=True)
class Shown:
    """An object as nodes see it.

    Attributes:
        version: a hash of the content.
        content: the object, JSON.
        digest: of the code that it brings, sha256:<hex>; "" for none.
    """

    version: str
    content: bytes
    digest: str = ""


def shown(resource: str, document: Document) -> Shown:
    """Return an object as nodes see it; `document` is not changed."""
    metadata = {name: value for name, value in document["metadata"].items() if name not in _PASSING}
    rest = {name: value for name, value in document.items() if name not in {"metadata", "status"}}
    decided = _DECIDED.get(resource, _nothing)(document.get("status") or {})
    seen = {**rest, "metadata": metadata, **({"status": decided} if decided else {})}
    content = orjson.dumps(seen, option=orjson.OPT_SORT_KEYS)
    code = decided.get("artifact") or decided.get("code") or {}
    return Shown(hashlib.sha256(content).hexdigest()[:32], content, code.get("digest", ""))


def _nothing(_: Document) -> Document:
    return {}


def _of_function(status: Document) -> Document:
    decided: Document = {name: status[name] for name in _DECIDED_OF_FUNCTIONS if name in status}
    if "traffic" in status:
        told_by_nodes = {"ready", "url"}
        decided["traffic"] = [
            {name: value for name, value in target.items() if name not in told_by_nodes} for target in status["traffic"]
        ]
    return decided


def _of_revision(status: Document) -> Document:
    return {name: status[name] for name in ("ref", "artifact") if name in status}


def _of_plugin(status: Document) -> Document:
    decided = {"code": status["code"]} if "code" in status else {}
    conditions = [each for each in status.get("conditions") or () if each["type"] in _OF_CODE]
    return decided | ({"conditions": conditions} if conditions else {})


_DECIDED: Mapping[str, Callable[[Document], Document]] = {
    EDGE_FUNCTION.resource: _of_function,
    EDGE_FUNCTION_REVISION.resource: _of_revision,
    WASM_PLUGIN.resource: _of_plugin,
}
