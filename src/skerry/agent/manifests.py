"""What an engine worker is told of a revision: from its spec to its manifest. Pure."""

from dataclasses import asdict
from pathlib import Path

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.function_limits import MOST, FunctionLimits
from skerry.api.function_template import EdgeFunctionRevisionSpec
from skerry.engine.manifest import FunctionManifest


def function_manifest(
    function: EdgeFunction,
    revision: str,
    spec: EdgeFunctionRevisionSpec,
    artifact: Path,
    *,
    limits_max: FunctionLimits = MOST,
) -> FunctionManifest:
    """Return the manifest of a revision.

    Args:
        function: its function.
        revision: its own.
        spec: what is asked for.
        artifact: where its code lies.
        limits_max: the most that the node gives, whatever is asked for.
    """
    limits = {f"{name}_max": value for name, value in asdict(spec.limits.within(limits_max)).items()}
    return FunctionManifest(
        revision=revision,
        function=function.name,
        artifact=artifact,
        env={variable.name: variable.value for variable in spec.env or ()},
        timeout_seconds=spec.timeout_seconds,
        isolation=spec.isolation,
        **limits,
        may_fetch=spec.may_fetch,
        has_kv=spec.has_kv,
        shared_kv=spec.shared_kv,
        uid=function.uid,
    )
