"""Removes artifacts that no revision, plugin, function or configuration names any more.

Owns the decision of what is referenced. Does not own the keep, nor the grace age by which it protects an artifact
whose reference is still being written.
"""

from collections.abc import Iterator
from itertools import chain

from skerry.api.baetyl_configurations import KEPT_SOURCE, Configuration
from skerry.api.dispatch_v1 import Function
from skerry.api.extensions_v1alpha2 import EdgeFunctionRevision
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.artifacts.digest import Digest
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.informer import Informer
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, keep_running

log = get_logger(__name__)

#: Disk is cheap and a rollback is dear: there is no hurry.
COLLECT_SECONDS = 600.0


#: What names artifacts.
Referring = EdgeFunctionRevision | WasmPlugin | Function | Configuration


def digests_named_by(obj: Referring) -> Iterator[str]:
    """Yield the artifacts that an object needs, as `sha256:...`."""
    match obj:
        case EdgeFunctionRevision(status=status):
            if status.artifact:
                yield status.artifact.digest
            if status.source and status.source.lock:
                yield status.source.lock
        case WasmPlugin(status=plugin):
            if plugin.code:
                yield plugin.code.digest
        case Function(spec=spec):
            if spec.source.artifact:
                yield spec.source.artifact
        case Configuration(objects=files):
            yield from (file.object for file in (files or {}).values() if file.source == KEPT_SOURCE and file.object)


class ArtifactCollector:
    """Collects garbage in the keep; `run()` is its life.

    Args:
        keep: where artifacts lie.
        revisions: the cache of what names the code of functions.
        plugins: the cache of what names the code of plugins.
        functions: the cache of what names uploaded sources.
        configurations: the cache of what names files for nodes.
    """

    def __init__(
        self,
        keep: ArtifactKeep,
        revisions: Informer[EdgeFunctionRevision],
        plugins: Informer[WasmPlugin],
        functions: Informer[Function],
        configurations: Informer[Configuration],
    ) -> None:
        self._keep = keep
        self._revisions = revisions
        self._plugins = plugins
        self._functions = functions
        self._configurations = configurations

    async def run(self) -> None:
        """Collect at once and every `COLLECT_SECONDS`; never returns."""
        await self._revisions.synced()
        await self._plugins.synced()
        await self._functions.synced()
        await self._configurations.synced()
        await keep_running("artifact-collector", self.collect, wakeup=Wakeup(), resync_seconds=COLLECT_SECONDS)

    async def collect(self) -> None:
        """Remove what nothing names."""
        objects: Iterator[Referring]
        objects = chain(self._revisions, self._plugins, self._functions, self._configurations)
        named = {Digest.parse(text) for obj in objects for text in digests_named_by(obj)}
        removed = await self._keep.remove_unreferenced(named)
        if removed:
            log.info("removed artifacts that nothing names", count=removed)
