"""Which plugins this node can run: their modules at hand, as files that Envoy reads.

Does not own where code comes from, nor what a plugin means to traffic.

Invariant: a plugin is run with the code of its own source, or as it was before, never half of each.
"""

from collections.abc import Collection
from dataclasses import replace

from skerry.agent.code_files import CodeFiles
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, code_source
from skerry.api.model import condition_of
from skerry.gateway.decisions import Key
from skerry.gateway.plugins import CODE_UNAVAILABLE
from skerry.gateway.resources import HeldPlugin
from skerry.kit.errors import SkerryError
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.logs import get_logger
from skerry.kit.memo import Memo, MemoMap

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
        self._seen: ImmutableMap[Key, WasmPlugin] = ImmutableMap()
        self._held: ImmutableMap[Key, HeldPlugin] = ImmutableMap()
        #: Those whose code is not here: each turn looks at them again, and else only at what changed.
        self._unsettled: frozenset[Key] = frozenset()
        self._ages: MemoMap[Key, WasmPlugin, tuple[str, str]] = MemoMap()
        self._too_many: Memo[frozenset[Key]] = Memo()

    async def stage(self, plugins: ImmutableMap[Key, WasmPlugin]) -> ImmutableMap[Key, HeldPlugin]:
        """Bring every module here; return the plugins as this node can run them: the `PLUGINS_MAX` oldest."""
        ages = self._ages.map(plugins, _age)
        too_many = self._too_many.get((ages,), lambda: frozenset(sorted(ages, key=ages.__getitem__)[PLUGINS_MAX:]))
        problem = f"a node runs at most {PLUGINS_MAX} plugins, and there are {len(plugins)}"
        changes = plugins.changes_since(self._seen)
        held: dict[Key, HeldPlugin] = {}
        for key in (changes.present.keys() | self._unsettled | too_many) - changes.gone:
            plugin = plugins[key]
            held[key] = HeldPlugin(plugin, problem=problem) if key in too_many else await self._hold(key, plugin)
        self._held = self._held.with_changes(held, changes.gone)
        self._unsettled = frozenset(key for key, item in held.items() if item.code is None or item.waiting)
        self._seen = plugins
        return self._held

    async def _hold(self, key: Key, plugin: WasmPlugin) -> HeldPlugin:
        before: HeldPlugin | None = self._held.get(key)
        if before is not None and (before.code is None or before.plugin.uid != plugin.uid):
            before = None
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
        await self._files.remove_idle([*in_use, *(item.code for item in self._held.values() if item.code)])


def _age(plugin: WasmPlugin) -> tuple[str, str]:
    return (plugin.metadata.creation_timestamp or "", plugin.uid)


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
