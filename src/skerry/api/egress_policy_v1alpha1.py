"""extensions.skerry.dev/v1alpha1: EgressPolicy, where edge functions may send requests.

A kind of Skerry's own; docs/reference/egress-policy.md tells how policies of one function add up.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.fields import FieldError, required, too_many
from skerry.api.kinds import Column, Kind, condition_status, value_at
from skerry.api.label_selector import LabelSelector, selector_errors
from skerry.api.model import LIST_ATOMIC, LIST_SET, Conditions, Int32, Model, Resource

FUNCTIONS_MAX = 1_000
RULES_MAX = 100
#: Networks, hosts and ports of one policy, all rules together.
VALUES_MAX = 1_000

_LABEL = r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def _check_network(text: str) -> str:
    ipaddress.ip_network(text)  # its ValueError says what is wrong
    return text


def _check_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("must be the name of a host in lower case, or *. and a domain, such as *.example.com")
    if text.rpartition(".")[2].isdigit():
        raise ValueError("must be a name: addresses stand in cidrs")
    return text


class EgressRuleSpec(Model):
    """Destinations: an address of `cidrs` or a host of `hosts` (any where both are empty), and a port of `ports`."""

    cidrs: Annotated[list[Annotated[str, AfterValidator(_check_network)]] | None, LIST_SET] = None
    """Addresses and networks, such as 10.1.0.0/16: what a name resolves to is compared."""
    hosts: Annotated[list[Annotated[str, Field(max_length=253), AfterValidator(_check_host)]] | None, LIST_SET] = None
    """Names of hosts, as URLs have them; *.example.com stands for every name beneath example.com."""
    ports: Annotated[list[Annotated[Int32, Field(ge=1, le=65535)]] | None, LIST_SET] = None
    """Ports; any where empty."""


_Rules = Annotated[list[EgressRuleSpec] | None, Field(max_length=RULES_MAX), LIST_ATOMIC]


class EgressPolicySpec(Model):
    """Which functions a policy is about, and what they may reach."""

    selector: LabelSelector | None = None
    """Selects functions by their labels."""
    functions: Annotated[list[str] | None, Field(max_length=FUNCTIONS_MAX), LIST_SET] = None
    """Selects functions by their names. Without selector and functions the policy is about every function."""
    allow: _Rules = None
    """What the functions may reach besides public addresses."""
    deny: _Rules = None
    """What the functions may not reach, whatever allows it."""
    default_action: Literal["Allow", "Deny"] = "Allow"
    """What becomes of public destinations that no rule names."""


class EgressPolicyStatus(Model):
    """What a policy is about at present."""

    selected_functions: Int32 | None = None
    """How many functions it selects."""
    conditions: Conditions = None
    """Whether the policy is about any function: type Selected."""


class EgressPolicy(Resource):
    """Where functions may send requests (fetch): networks, hosts and ports, for all functions or some."""

    spec: EgressPolicySpec = Field(default_factory=EgressPolicySpec)
    """The desired state."""
    status: EgressPolicyStatus = Field(default_factory=EgressPolicyStatus)
    """The present state."""

    def selects(self, function: EdgeFunction) -> bool:
        """Tell whether the policy is about a function."""
        spec = self.spec
        if spec.selector is None and spec.functions is None:
            return True
        by_label = spec.selector is not None and spec.selector.selects(function.metadata.labels or {})
        return by_label or function.name in (spec.functions or ())


def _validate(policy: EgressPolicy, _: EgressPolicy | None) -> Iterator[FieldError]:
    yield from selector_errors("spec.selector", policy.spec.selector)
    values = 0
    for field, rules in (("allow", policy.spec.allow), ("deny", policy.spec.deny)):
        for index, rule in enumerate(rules or ()):
            given = sum(len(each or ()) for each in (rule.cidrs, rule.hosts, rule.ports))
            if not given:
                yield required(f"spec.{field}[{index}]", "at least one of cidrs, hosts and ports")
            values += given
    if values > VALUES_MAX:
        yield too_many("spec", values, VALUES_MAX)


EGRESS_POLICY = Kind(
    group="extensions.skerry.dev",
    version="v1alpha1",
    model=EgressPolicy,
    plural="egresspolicies",
    namespaced=False,
    short_names=("egp",),
    columns=(
        Column("Default", value_at(".spec.defaultAction"), description="Of public destinations that no rule names."),
        Column(
            "Functions",
            value_at(".status.selectedFunctions"),
            type="integer",
            description="How many functions it is about.",
        ),
        Column("Selected", condition_status("Selected"), description="Whether it is about any.", priority=1),
    ),
    validate=_validate,
    read_by="view",
)
