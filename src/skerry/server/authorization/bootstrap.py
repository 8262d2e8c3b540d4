"""Brings the default roles and bindings into the log at start, as Kubernetes does.

What is missing is made; an object that is there gets the rules and subjects it lacks, and keeps what was added to it.
The annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` on an object keeps it as it is.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from skerry.api.errors import AlreadyExists
from skerry.api.kinds import Kind
from skerry.api.model import R
from skerry.api.rbac_v1 import ClusterRole, ClusterRoleBinding
from skerry.client.client import Client
from skerry.kit.logs import get_logger
from skerry.server.authorization.defaults import AUTOUPDATE, default_bindings, default_roles
from skerry.server.authorization.rules import missing

log = get_logger(__name__)


async def ensure_default_roles(client: Client, kinds: Sequence[Kind[Any]]) -> None:
    """Make or complete every default role and binding."""
    for role in default_roles(kinds):
        found = await _found_or_created(client, role)
        if found is not None:
            await client.change(found, partial(complete_role, wanted=role))
    for binding in default_bindings():
        found_binding = await _found_or_created(client, binding)
        if found_binding is None:
            continue
        if found_binding.role_ref != binding.role_ref:
            log.warning("a default binding was of another role, made anew", name=binding.name)
            await client.delete(found_binding)
            await client.create(binding)
        else:
            await client.change(found_binding, partial(complete_binding, wanted=binding))


async def _found_or_created(client: Client, wanted: R) -> R | None:
    """Create an object; return the stored one where it was there before and is to be completed."""
    found = await client.find(type(wanted), wanted.name)
    if found is None:
        try:
            await client.create(wanted)
        except AlreadyExists:
            found = await client.get(type(wanted), wanted.name)  # another replica starts as well
    if found is None or (found.metadata.annotations or {}).get(AUTOUPDATE) == "false":
        return None
    return found


def complete_role(role: ClusterRole, wanted: ClusterRole) -> None:
    """Add to a stored role what the default one has more; what is aggregated into it is the controller's part."""
    _complete_metadata(role, wanted)
    if wanted.aggregation_rule is None:
        lacking = [rule for rule in wanted.rules or () if missing(role.rules or (), [rule])]
        role.rules = [*(role.rules or ()), *lacking] or None
        return
    if role.aggregation_rule is None:
        role.aggregation_rule = wanted.aggregation_rule
        return
    selectors = role.aggregation_rule.cluster_role_selectors or []
    more = [s for s in wanted.aggregation_rule.cluster_role_selectors or () if s not in selectors]
    role.aggregation_rule.cluster_role_selectors = [*selectors, *more]


def complete_binding(binding: ClusterRoleBinding, wanted: ClusterRoleBinding) -> None:
    """Add to a stored binding the subjects that the default one has more."""
    _complete_metadata(binding, wanted)
    subjects = binding.subjects or []
    binding.subjects = [*subjects, *(s for s in wanted.subjects or () if s not in subjects)]


def _complete_metadata(obj: ClusterRole | ClusterRoleBinding, wanted: ClusterRole | ClusterRoleBinding) -> None:
    meta, more = obj.metadata, wanted.metadata
    meta.labels = {**(more.labels or {}), **(meta.labels or {})}
    meta.annotations = {**(more.annotations or {}), **(meta.annotations or {})}
