"""What the agent writes to the status of RequestAuthentication and AuthorizationPolicy. Pure."""

from collections.abc import Sequence

from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_request_authentication_v1 import PolicyGateway, PolicyStatus, RequestAuthentication
from skerry.api.model import with_condition
from skerry.gateway.decisions import Decision, PolicyReport, no, yes
from skerry.gateway.snapshot import LISTENER_TYPE
from skerry.gateway.status import as_condition
from skerry.gateway.xds_stream import Rejection


def refusals_of(report: PolicyReport, rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Return what Envoy refused of a policy: listeners that hold it."""
    bindings = {name for names in report.gateways.values() for name in names}
    return tuple(found for found in rejections if found.type_url == LISTENER_TYPE and found.name in bindings)


def policy_status(
    policy: RequestAuthentication | AuthorizationPolicy,
    report: PolicyReport,
    refusals: Sequence[Rejection],
    now: str,
) -> PolicyStatus:
    """Return the status of a policy; `refusals` is what Envoy refuses of it (`refusals_of`), `now` is RFC 3339."""
    programmed = _programmed(report, refusals)
    failed = report.accepted if report.accepted.status == "False" else programmed
    is_ready = failed.status == "True"
    ready = yes("Ready", message=failed.message) if is_ready else no("Ready", failed.reason, failed.message)
    generation = policy.metadata.generation
    conditions = policy.status.conditions
    for decision in (report.accepted, programmed, ready):
        conditions = with_condition(conditions, as_condition(decision, generation, now))
    gateways = [PolicyGateway(namespace=namespace, name=name) for namespace, name in sorted(report.gateways)]
    return PolicyStatus(observed_generation=generation, conditions=conditions, gateways=gateways)


def _programmed(report: PolicyReport, refusals: Sequence[Rejection]) -> Decision:
    if report.obstacle is not None:
        return report.obstacle
    if refusals:
        told = "; ".join(dict.fromkeys(f"{refused.name}: {refused.message}" for refused in refusals))
        return no("Programmed", "Invalid", told)
    named = ", ".join("/".join(key) for key in sorted(report.gateways))
    return yes("Programmed", message=f"in force on {named}")
