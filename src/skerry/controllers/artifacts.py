"""Removes artifacts that no revision, plugin or function names any more.

Owns the decision of what is referenced. Does not own the keep, nor the grace age by which it protects an artifact
whose reference is still being written.
"""

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


class ArtifactCollector:
    """Collects garbage in the keep; `run()` is its life.

    Args:
        keep: where artifacts lie.
        revisions: the cache of what names the code of functions.
        plugins: the cache of what names the code of plugins.
        functions: the cache of what names uploaded sources.
    """

    def __init__(
        self,
        keep: ArtifactKeep,
        revisions: Informer[EdgeFunctionRevision],
        plugins: Informer[WasmPlugin],
        functions: Informer[Function],
    ) -> None:
        self._keep = keep
        self._revisions = revisions
        self._plugins = plugins
        self._functions = functions

    async def run(self) -> None:
        """Collect at once and every `COLLECT_SECONDS`; never returns."""
        await self._revisions.synced()
        await self._plugins.synced()
        await self._functions.synced()
        await keep_running("artifact-collector", self.collect, wakeup=Wakeup(), resync_seconds=COLLECT_SECONDS)

    async def collect(self) -> None:
        """Remove what nothing names."""
        functions = {r.status.artifact.digest for r in self._revisions if r.status.artifact}
        functions |= {r.status.source.lock for r in self._revisions if r.status.source and r.status.source.lock}
        plugins = {p.status.code.digest for p in self._plugins if p.status.code}
        sources = {f.spec.source.artifact for f in self._functions if f.spec.source.artifact}
        removed = await self._keep.remove_unreferenced({Digest.parse(d) for d in functions | plugins | sources})
        if removed:
            log.info("removed artifacts that nothing names", count=removed)
