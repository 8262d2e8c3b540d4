"""What the requests of a Gateway meet, in order, as `skerry plugin ls` prints it. Pure.

Source: docs/reference/wasmplugin.md, Order. Who runs where is read from the statuses, which the nodes write.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from skerry.api.istio_extensions_v1alpha1 import chain_rank
from skerry.api.model import Document

#: In the order in which policies decide.
_ACTIONS = ("AUDIT", "DENY", "ALLOW")


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects that chains consist of, of all namespaces, as the API gives them."""

    plugins: Sequence[Document] = ()
    authentications: Sequence[Document] = ()
    policies: Sequence[Document] = ()


def steps(namespace: str, gateway: str, objects: Objects) -> Iterator[tuple[str, ...]]:
    """Yield the steps of a Gateway: name, type, phase, priority, whether it is ready, and a message."""
    found = [
        *((_plugin_rank(each), _plugin(each, states)) for each, states in _at(namespace, gateway, objects.plugins)),
        *(
            (_policy_rank("AUTHN", each), _policy("RequestAuthentication", "", each))
            for each, _ in _at(namespace, gateway, objects.authentications)
        ),
        *(
            (_policy_rank("AUTHZ", each), _policy("AuthorizationPolicy", each["spec"]["action"], each))
            for each, _ in _at(namespace, gateway, objects.policies)
        ),
    ]
    yield from (row for _, row in sorted(found))


def _at(namespace: str, gateway: str, objects: Iterable[Document]) -> Iterator[tuple[Document, list[Document]]]:
    """Yield what is for a Gateway, with the entries of its status that tell of it, one a node."""
    for obj in objects:
        entries = (obj.get("status") or {}).get("gateways") or ()
        if states := [entry for entry in entries if (entry["namespace"], entry["name"]) == (namespace, gateway)]:
            yield obj, states


def _plugin_rank(plugin: Document) -> tuple[Any, ...]:
    spec, metadata = plugin["spec"], plugin["metadata"]
    phase, rank = chain_rank(spec["phase"], spec["priority"])
    return (_type(plugin) != "NETWORK", phase, False, rank, metadata["name"], metadata["namespace"])


def _policy_rank(follows: str, policy: Document) -> tuple[Any, ...]:
    """Rank what stands behind the plugins of a phase."""
    spec, metadata = policy["spec"], policy["metadata"]
    rank = _ACTIONS.index(spec["action"]) if "action" in spec else 0
    return (True, chain_rank(follows, 0)[0], True, rank, metadata["namespace"], metadata["name"])


def _plugin(plugin: Document, states: Sequence[Document]) -> tuple[str, ...]:
    """Write a plugin; it is ready where every node that runs the Gateway took it."""
    spec = plugin["spec"]
    lacking = [state for state in states if state["programmed"] != "True"]
    ready = lacking[0]["programmed"] if lacking else "True"
    message = "; ".join(dict.fromkeys(state.get("message") or "" for state in lacking))
    return (_name(plugin), _type(plugin), spec["phase"], str(spec["priority"]), ready, message)


def _policy(kind: str, action: str, policy: Document) -> tuple[str, ...]:
    [ready] = [found for found in policy["status"]["conditions"] if found["type"] == "Ready"]
    message = "" if ready["status"] == "True" else ready["message"]
    return (_name(policy), kind, action, "", ready["status"], message)


def _name(obj: Document) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def _type(plugin: Document) -> str:
    return "NETWORK" if plugin["spec"]["type"] == "NETWORK" else "HTTP"
