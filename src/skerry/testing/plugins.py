"""Plugins for tests of the gateway, without the controller that fetches their code."""

from pathlib import Path

from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.model import condition_of
from skerry.gateway.resources import HeldPlugin

_FILE = "file://"


def held(plugin: WasmPlugin) -> HeldPlugin:
    """Return a plugin as a node holds it: one with a file URL has its code there, others wait for theirs.

    One whose status says that fetching failed has no code, as on a real node.
    """
    fetched = condition_of(plugin.status.conditions, "Fetched")
    if fetched is not None and fetched.status == "False":
        return HeldPlugin(plugin, problem=fetched.message)
    if not plugin.spec.url.startswith(_FILE):
        return HeldPlugin(plugin, waiting=True)
    return HeldPlugin(plugin, plugin.spec.url.removeprefix(_FILE))


def built(repository: Path, name: str) -> Path:
    """Return a module that `make setup-dev` built: `add-header` or `probe` of AssemblyScript, `sentry` of C."""
    path = (repository / ".cache" / "wasm" / f"{name}.wasm").resolve()
    assert path.is_file(), f"{path} is missing: run `make setup-dev`"  # noqa: S101 - for tests
    return path
