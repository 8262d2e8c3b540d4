"""What the translator reads, from YAML, as an agent would hand it over."""

from typing import Any

import yaml

from skerry.api.decoding import complete, decode
from skerry.api.registry import find_kind
from skerry.gateway.resources import NodeFacts, Resources, plugins_by_key
from skerry.testing.plugins import held

_FIELD_OF_KIND = {
    "GatewayClass": "gateway_classes",
    "Gateway": "gateways",
    "HTTPRoute": "http_routes",
    "Backend": "backends",
    "DirectResponse": "direct_responses",
    "EdgeFunction": "functions",
    "Endpoint": "endpoints",
    "Secret": "secrets",
    "WasmPlugin": "plugins",
    "RequestAuthentication": "authentications",
    "AuthorizationPolicy": "policies",
}


def read_resources(text: str, node: NodeFacts) -> Resources:
    """Read YAML documents as checked resources; those of kind Namespace give labels.

    Raises:
        ApiError: a document is not valid.
        LookupError: a document's kind is none that the translator reads.
    """
    found: dict[str, list[Any]] = {name: [] for name in _FIELD_OF_KIND.values()}
    labels: dict[str, dict[str, str]] = {"default": {}}
    for document in yaml.safe_load_all(text):
        if document["kind"] == "Namespace":
            labels[document["metadata"]["name"]] = document["metadata"].get("labels", {})
            continue
        kind = find_kind(document["apiVersion"], document["kind"])
        if kind is None:
            raise LookupError(f"there is no kind {document['kind']} of {document['apiVersion']}")
        obj = decode(kind, document).object
        complete(kind, obj, None)
        if kind.namespaced and not obj.namespace:
            obj.metadata.namespace = "default"
        found[_FIELD_OF_KIND[document["kind"]]].append(obj)
    plugins = plugins_by_key(map(held, found.pop("plugins")))
    lists: dict[str, Any] = {name: tuple(items) for name, items in found.items()}
    return Resources(**lists, plugins=plugins, namespace_labels=labels, node=node)
