"""Brings EgressPolicies to this node's engine workers.

Owns the file that they read. Does not own what a policy means (`engine.egress`).
"""

import asyncio
import ipaddress
from collections.abc import Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from skerry.api.egress_policy_v1alpha1 import EgressPolicy, EgressRuleSpec
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.engine.egress import EgressRule
from skerry.engine.egress_file import WrittenPolicy, write_policies
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)


class EgressStage:
    """Puts policies into force; `stage` it before a function is served that they are about.

    Args:
        path: of the file that workers read.
        policies: the cache of policies.
        functions: the cache of functions.
        executor: for file work.
    """

    def __init__(
        self, path: Path, policies: Iterable[EgressPolicy], functions: Iterable[EdgeFunction], executor: Executor
    ) -> None:
        self._path = path
        self._policies = policies
        self._functions = functions
        self._executor = executor
        self._lock = asyncio.Lock()
        self._written: list[WrittenPolicy] | None = None

    async def stage(self) -> None:
        """Write what has changed; where it can't be written, what was in force before stays so."""
        async with self._lock:
            functions = list(self._functions)
            wanted = [_written(policy, functions) for policy in sorted(self._policies, key=lambda each: each.name)]
            if wanted == self._written:
                return
            try:
                await run_blocking(self._executor, partial(write_policies, self._path, wanted))
            except (OSError, ValueError) as error:
                log.warning("egress policies can't be put into force, those before stay", error=str(error))
            else:
                self._written = wanted


def _written(policy: EgressPolicy, functions: Iterable[EdgeFunction]) -> WrittenPolicy:
    spec = policy.spec
    is_about_all = spec.selector is None and spec.functions is None
    return WrittenPolicy(
        None if is_about_all else frozenset(each.name for each in functions if policy.selects(each)),
        tuple(map(_rule, spec.allow or ())),
        tuple(map(_rule, spec.deny or ())),
        spec.default_action == "Deny",
    )


def _rule(rule: EgressRuleSpec) -> EgressRule:
    networks = tuple(map(ipaddress.ip_network, rule.cidrs or ()))
    return EgressRule(networks, frozenset(rule.hosts or ()), frozenset(rule.ports or ()))
