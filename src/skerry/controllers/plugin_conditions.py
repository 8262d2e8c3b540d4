"""What the status of a WasmPlugin says of its code: the conditions Fetched and Verified. Pure, but for the clock.

Invariant: Fetched or Verified is False only where there is no code for the plugin's present source.
"""

from typing import Literal

from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, code_source
from skerry.api.model import Condition, with_condition
from skerry.artifacts.errors import FetchError, SignatureError
from skerry.kit.clock import Clock, rfc3339

MESSAGE_CHARACTERS_MAX = 4096

ConditionStatus = Literal["True", "False", "Unknown"]


class PluginConditions:
    """Writes them into a plugin.

    Args:
        clock: stamps them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def tell_fetching(self, plugin: WasmPlugin) -> None:
        """Say that code is on its way; code that is only looked for again stays as it is."""
        if not _has_code(plugin):
            self._set(plugin, "Fetched", "Unknown", "Fetching", f"{plugin.spec.url} is being fetched")

    def tell_fetched(self, plugin: WasmPlugin) -> None:
        """Say that the code of the present source is there."""
        code = plugin.status.code
        if code is None or not _has_code(plugin):
            return
        self._set(plugin, "Fetched", "True", "Fetched", code.url)
        self._tell_verified(plugin, "True", "SignatureVerified", "the code is signed with spec.verificationKey")

    def tell_failed(self, plugin: WasmPlugin, error: FetchError, *, is_kept: bool) -> None:
        """Say why code can't be had; where that of the present source is kept, that it stays in use."""
        code, again = plugin.status.code, f"{error.public} (it will be tried again)"
        if code is not None and is_kept and _has_code(plugin):
            self._set(plugin, "Fetched", "True", "PullFailed", f"the code of {code.resolved_at} stays in use: {again}")
        elif isinstance(error, SignatureError):
            self._set(plugin, "Fetched", "False", "NotVerified", error.public)
            self._set(plugin, "Verified", "False", error.reason, again)
        else:
            self._set(plugin, "Fetched", "False", error.reason, again)
            self._tell_verified(plugin, "Unknown", "NotFetched", "the code could not be fetched")

    def _tell_verified(self, plugin: WasmPlugin, status: ConditionStatus, reason: str, message: str) -> None:
        if plugin.spec.verification_key:
            self._set(plugin, "Verified", status, reason, message)
        else:
            self._set(plugin, "Verified", "Unknown", "NotRequested", "spec.verificationKey is not set")

    def _set(self, plugin: WasmPlugin, kind: str, status: ConditionStatus, reason: str, message: str) -> None:
        condition = Condition(
            type=kind,
            status=status,
            observed_generation=plugin.metadata.generation,
            last_transition_time=rfc3339(self._clock.now()),
            reason=reason,
            message=message[:MESSAGE_CHARACTERS_MAX],
        )
        plugin.status.conditions = with_condition(plugin.status.conditions, condition)


def _has_code(plugin: WasmPlugin) -> bool:
    return plugin.status.code is not None and plugin.status.code.source == code_source(plugin)
