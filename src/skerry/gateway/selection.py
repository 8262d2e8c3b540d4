"""Which Gateways an object of Istio's kinds is for: plugins and policies alike. Pure.

Source: Istio, `selector` and `targetRefs`; a workload is a Gateway on a node.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from skerry.api.gateway_references import GROUP as GATEWAY_GROUP
from skerry.api.istio_attachment import Attached, PolicyTargetReference, targets_of
from skerry.gateway.decisions import Decision, no, yes
from skerry.gateway.gateways import GatewayPlan
from skerry.gateway.resources import NodeFacts

#: Labels of every workload, as Istio puts them on the proxies of a Gateway.
GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
GATEWAY_CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"


class Attachable(Protocol):
    """An object that applies to workloads."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def spec(self) -> Attached:
        """Where it applies."""


def selected(obj: Attachable, plans: Sequence[GatewayPlan], node: NodeFacts) -> Iterator[GatewayPlan]:
    """Yield the Gateways that an object is for: by its targets, else by labels."""
    targets = targets_of(obj.spec)
    for plan in plans:
        if targets:
            if any(_is_target(target, obj.namespace, plan, node) for target in targets):
                yield plan
        elif obj.namespace in {plan.key[0], node.root_namespace} and _has_labels(obj.spec, plan, node):
            yield plan


def _is_target(target: PolicyTargetReference, namespace: str, plan: GatewayPlan, node: NodeFacts) -> bool:
    match (target.group, target.kind):
        case (group, "Gateway") if group == GATEWAY_GROUP:
            return plan.key == (namespace, target.name)
        case (group, "GatewayClass") if group == GATEWAY_GROUP:
            return namespace == node.root_namespace and plan.gateway.spec.gateway_class_name == target.name
    return False


def _has_labels(spec: Attached, plan: GatewayPlan, node: NodeFacts) -> bool:
    wanted = (spec.selector.match_labels if spec.selector else None) or {}
    return wanted.items() <= workload_labels(plan, node).items()


def workload_labels(plan: GatewayPlan, node: NodeFacts) -> dict[str, str]:
    """Return the labels of a Gateway on a node: the node's, over them the Gateway's, over them those of its name."""
    own = {GATEWAY_NAME_LABEL: plan.gateway.name, GATEWAY_CLASS_LABEL: plan.gateway.spec.gateway_class_name}
    return {**node.labels, **(plan.gateway.metadata.labels or {}), **own}


def accepted_attachment(obj: Attachable, noun: str, plans: Sequence[GatewayPlan], node: NodeFacts) -> Decision:
    """Decide whether an object is Accepted: one target that is there is enough.

    Args:
        obj: the object.
        noun: what to call it.
        plans: every Gateway of ours.
        node: facts of the node.
    """
    targets = targets_of(obj.spec)
    missing = [
        _why_missing(target, obj.namespace, noun, node)
        for target in targets
        if not any(_is_target(target, obj.namespace, plan, node) for plan in plans)
        and not _is_elsewhere(target, obj.namespace, node)
    ]
    if not missing:
        return yes("Accepted", message=f"the {noun} is valid")
    if len(missing) == len(targets):
        return no("Accepted", "TargetNotFound", "; ".join(missing))
    return yes("Accepted", message="; ".join(missing))


def _is_elsewhere(target: PolicyTargetReference, namespace: str, node: NodeFacts) -> bool:
    """Tell whether a target is there, on other nodes."""
    match (target.group, target.kind):
        case (group, "Gateway") if group == GATEWAY_GROUP:
            return (namespace, target.name) in node.elsewhere
        case (group, "GatewayClass") if group == GATEWAY_GROUP:
            return namespace == node.root_namespace and target.name in node.elsewhere.values()
    return False


def _why_missing(target: PolicyTargetReference, namespace: str, noun: str, node: NodeFacts) -> str:
    if target.kind == "GatewayClass" and namespace != node.root_namespace:
        return (
            f"GatewayClass {target.name}: only an object of namespace {node.root_namespace} can target a GatewayClass"
        )
    if target.kind == "GatewayClass":
        return f"GatewayClass {target.name}: no Gateway of this controller has this class"
    if target.kind == "Gateway":
        return f"Gateway {namespace}/{target.name} does not exist, or is run by another controller"
    return f"{target.kind} {namespace}/{target.name} does not exist: a {noun} is for Gateways and GatewayClasses here"
