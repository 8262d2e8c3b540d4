"""What Istio's kinds share: which workloads an object is for, by labels or by targets.

Source: Istio's type.v1beta1, WorkloadSelector and PolicyTargetReference. Here, a workload is a Gateway on a node.
"""

from collections.abc import Iterator
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field

from skerry.api.fields import FieldError, forbidden, not_supported
from skerry.api.model import Model

MATCH_LABELS_MAX = 4096
TARGET_REFS_MAX = 16

#: (group, kind) of what an object can be attached to; "core" is what Istio also takes for the core group.
TARGETS = (
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
)

_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def _check_match_labels(labels: dict[str, str]) -> dict[str, str]:
    if any(not key for key in labels):
        raise ValueError("key must not be empty")
    if any("*" in key or "*" in value for key, value in labels.items()):
        raise ValueError("wildcard is not supported in selector: keys and values must not hold '*'")
    return labels


class WorkloadSelector(Model):
    """Selects workloads by their labels. Here, a workload is a Gateway on a node."""

    match_labels: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]] | None,
        Field(max_length=MATCH_LABELS_MAX),
        AfterValidator(lambda labels: labels and _check_match_labels(labels)),
    ] = None
    """Labels that a workload must have, each with this value; all workloads where empty."""


class PolicyTargetReference(Model):
    """Names what an object is attached to, in the object's own namespace."""

    group: Annotated[str, Field(max_length=253, pattern=rf"^$|^{_DNS}$")] = ""
    """API group of the target; empty for the core group."""
    kind: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    """Kind of the target: Gateway, GatewayClass, Service or ServiceEntry."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the target."""
    namespace: Annotated[
        str | None,
        AfterValidator(lambda name: _refuse_namespace(name) if name else name),
    ] = None
    """Must be empty: an object is attached to targets of its own namespace."""


def _refuse_namespace(_: str) -> str:
    raise ValueError("cross namespace referencing is not currently supported")


class Attached(Protocol):
    """The part of a spec that tells where an object applies."""

    selector: WorkloadSelector | None
    target_ref: PolicyTargetReference | None
    target_refs: list[PolicyTargetReference] | None


def targets_of(spec: Attached) -> list[PolicyTargetReference]:
    """Return what an object is attached to; `targetRef` is the older spelling of one."""
    return spec.target_refs or ([spec.target_ref] if spec.target_ref else [])


def attachment_errors(spec: Attached) -> Iterator[FieldError]:
    """Yield what is wrong with where an object is to apply, for `spec`."""
    if sum(given is not None for given in (spec.selector, spec.target_ref, spec.target_refs)) > 1:
        yield forbidden("spec", "only one of targetRefs or selector can be set (and neither beside targetRef)")
    if spec.target_ref is not None:
        yield from _target_errors("spec.targetRef", spec.target_ref)
    for index, target in enumerate(spec.target_refs or ()):
        yield from _target_errors(f"spec.targetRefs[{index}]", target)


def _target_errors(path: str, target: PolicyTargetReference) -> Iterator[FieldError]:
    if (target.group, target.kind) not in TARGETS:
        accepted = [f"{group or 'core'}/{kind}" for group, kind in TARGETS[1:]]
        yield not_supported(path, f"{target.group or 'core'}/{target.kind}", accepted)
