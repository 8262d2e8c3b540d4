"""Which plugins this node can run: their modules at hand, as files that Envoy reads.

Does not own where code comes from, nor what a plugin means to traffic.

Invariant: a plugin is run with the code of its own source, or as it was before, never half of each.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from skerry.agent.code_files import CodeFiles
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, code_source
from skerry.api.model import condition_of
from skerry.gateway.plugins import CODE_UNAVAILABLE
from skerry.gateway.resources import HeldPlugin
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: Each takes some MiB of Envoy's memory, and some forty mappings, of which Linux allows a process 65,530 by default.
PLUGINS_MAX = 1000


class PluginStage:
    """Stages the modules of plugins for the Envoy of this node.

    Args:
        files: of the modules.
    """

    def __init__(self, files: CodeFiles) -> None:
        self._files = files
        self._running: dict[str, HeldPlugin] = {}

    async def stage(self, plugins: Iterable[WasmPlugin]) -> list[HeldPlugin]:
        """Bring every module here; return the plugins as this node can run them: the `PLUGINS_MAX` oldest."""
        wanted = list(plugins)
        if len(wanted) > PLUGINS_MAX:
            wanted.sort(key=lambda plugin: (plugin.metadata.creation_timestamp or "", plugin.uid))
        # The cache hands out the same object until it changes; of thousands, a turn looks no closer at those.
        known = {id(item.plugin): item for item in self._running.values() if not item.waiting}
        held = [known.get(id(plugin)) or await self._hold(plugin) for plugin in wanted[:PLUGINS_MAX]]
        problem = f"a node runs at most {PLUGINS_MAX} plugins, and there are {len(wanted)}"
        held += [HeldPlugin(plugin, problem=problem) for plugin in wanted[PLUGINS_MAX:]]
        self._running = {item.plugin.uid: item for item in held if item.code is not None}
        return held

    async def _hold(self, plugin: WasmPlugin) -> HeldPlugin:
        before = self._running.get(plugin.uid)
        code = plugin.status.code
        if code is not None and code.source == code_source(plugin):
            try:
                return HeldPlugin(plugin, str(await self._files.place(code.digest, ".wasm")))
            except (SkerryError, OSError) as error:
                log.warning("module can't be staged", plugin=plugin.name, digest=code.digest, error=str(error))
                return HeldPlugin(plugin, problem=f"the code can't be brought to this node: {error}")
        if problem := _failure(plugin):
            return HeldPlugin(plugin, problem=problem)
        if before is not None:
            return replace(before, waiting=True)
        if code is not None or _was_stood_in_for(plugin):
            # It has had a place in the chain, so it may not be left out; but code of another source would meet a
            # configuration that is not meant for it.
            return HeldPlugin(plugin, problem="the code of its present source is on its way")
        return HeldPlugin(plugin, waiting=True)

    async def remove_idle(self, in_use: Collection[str]) -> None:
        """Remove the files of modules that no plugin has used for some time.

        Args:
            in_use: paths of the modules that Envoy runs; where it refused a newer one, that is the one before.
        """
        await self._files.remove_idle([*in_use, *(item.code for item in self._running.values() if item.code)])


def _failure(plugin: WasmPlugin) -> str:
    """Return why the code could not be had, or ""."""
    for name in ("Fetched", "Verified"):
        condition = condition_of(plugin.status.conditions, name)
        if condition is not None and condition.status == "False":
            return condition.message
    return ""


def _was_stood_in_for(plugin: WasmPlugin) -> bool:
    programmed = condition_of(plugin.status.conditions, "Programmed")
    return programmed is not None and programmed.reason == CODE_UNAVAILABLE
