"""Which plugins this node can run: their modules at hand, as files that Envoy reads.

Owns the modules' files. Does not own where code comes from, nor what a plugin means to traffic.

Invariants: a plugin is run with the code of its own source, or as it was before, never half of each; a file is
complete before it has its name, and stays while Envoy may read it: whenever a listener that names the plugin
changes.
"""

import os
import shutil
from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from skerry.agent.functions import ArtifactSource
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, code_source
from skerry.api.model import condition_of
from skerry.gateway.plugins import CODE_UNAVAILABLE
from skerry.gateway.resources import HeldPlugin
from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import run_blocking

log = get_logger(__name__)

#: Each takes some MiB of Envoy's memory, and some forty mappings, of which Linux allows a process 65,530 by default.
PLUGINS_MAX = 1000

#: How long a module's file outlives its last use: Envoy reads it when a listener that names the plugin changes.
GRACE_SECONDS = 60.0


class PluginStage:
    """Stages the modules of plugins for the Envoy of this node.

    Args:
        plugins_dir: for the modules' files.
        artifacts: where code comes from.
        clock: measures the grace of files that are not needed any more.
        executor: for file work.
    """

    def __init__(self, plugins_dir: Path, artifacts: ArtifactSource, clock: Clock, executor: Executor) -> None:
        self._plugins_dir = plugins_dir
        self._artifacts = artifacts
        self._clock = clock
        self._executor = executor
        self._running: dict[str, HeldPlugin] = {}
        self._placed: set[str] = set()
        self._idle_since_seconds: dict[str, float] = {}

    async def stage(self, plugins: Iterable[WasmPlugin]) -> list[HeldPlugin]:
        """Bring every module here; return the plugins as this node can run them: the `PLUGINS_MAX` oldest."""
        wanted = list(plugins)
        if len(wanted) > PLUGINS_MAX:
            wanted.sort(key=lambda plugin: (plugin.metadata.creation_timestamp or "", plugin.uid))
        held = [await self._hold(plugin) for plugin in wanted[:PLUGINS_MAX]]
        problem = f"a node runs at most {PLUGINS_MAX} plugins, and there are {len(wanted)}"
        held += [HeldPlugin(plugin, problem=problem) for plugin in wanted[PLUGINS_MAX:]]
        self._running = {item.plugin.uid: item for item in held if item.code is not None}
        return held

    async def _hold(self, plugin: WasmPlugin) -> HeldPlugin:
        before = self._running.get(plugin.uid)
        if before is not None and before.plugin is plugin and not before.waiting:
            return before  # the cache hands out the same object until it changes
        code = plugin.status.code
        if code is not None and code.source == code_source(plugin):
            try:
                return HeldPlugin(plugin, str(await self._module(code.digest)))
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

    async def _module(self, digest: str) -> Path:
        """Return the file of a module; raises SkerryError where it can't be had, OSError where not written."""
        path = self._plugins_dir / f"{digest.removeprefix('sha256:')}.wasm"
        if path.name not in self._placed:
            artifact = await self._artifacts.fetch(digest)
            await run_blocking(self._executor, partial(_place, artifact, path))
            self._placed.add(path.name)
        return path

    async def remove_idle(self, in_use: Collection[str]) -> None:
        """Remove the files of modules that no plugin has used for `GRACE_SECONDS`.

        Args:
            in_use: paths of the modules that Envoy runs; where it refused a newer one, that is the one before.
        """
        now = self._clock.monotonic_seconds()
        used = {Path(path).name for path in (*in_use, *(item.code for item in self._running.values() if item.code))}
        present = await run_blocking(self._executor, partial(_names, self._plugins_dir))
        idle = present - used
        self._idle_since_seconds = {name: self._idle_since_seconds.get(name, now) for name in idle}
        for name, since in self._idle_since_seconds.items():
            if now - since >= GRACE_SECONDS:
                self._placed.discard(name)
                await run_blocking(self._executor, partial((self._plugins_dir / name).unlink, missing_ok=True))


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


def _place(artifact: Path, path: Path) -> None:
    """Give an artifact its second name; copy it where the folders are on two file systems."""
    aside = path.with_suffix(".incoming")
    aside.unlink(missing_ok=True)
    try:
        os.link(artifact, aside)
    except OSError:
        shutil.copyfile(artifact, aside)
    aside.replace(path)


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}
