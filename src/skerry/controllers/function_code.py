"""How a revision's code arrives: by its source, to a stored artifact.

Owns the choice of the way by source, and which failures are the author's. Does not own the ways (`artifacts`).
"""

from skerry.api.extensions_v1alpha2 import BACKEND, Artifact, EdgeFunctionRevisionSpec, JavaScriptSource
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, BadDigestError, BuildError
from skerry.artifacts.javascript import JavaScriptBuilder
from skerry.artifacts.keep import ArtifactKeep
from skerry.controllers.edge_functions import SourceError


class FunctionCodeBuilder:
    """Brings a revision's code: today JavaScript and TypeScript from assets.

    Args:
        javascript: bundles, checks and links JavaScript.
        keep: stores the result.
    """

    def __init__(self, javascript: JavaScriptBuilder, keep: ArtifactKeep) -> None:
        self._javascript = javascript
        self._keep = keep

    async def build(self, spec: EdgeFunctionRevisionSpec) -> Artifact:
        """Build and store; raises SourceError where the source is at fault."""
        code = spec.code
        if spec.mode != BACKEND:
            raise SourceError("mode filter is not served yet: use mode backend")
        if code.js_source is None:
            raise SourceError("only jsSource is built yet: wasmSource and goPluginSource are not")
        wasm = await self._javascript_wasm(code.js_source)
        digest = await self._keep.put(wasm)
        return Artifact(digest=str(digest), size_bytes=len(wasm))

    async def is_stored(self, artifact: Artifact) -> bool:
        """Tell whether the keep has an artifact, whole."""
        try:
            await self._keep.verify(Digest.parse(artifact.digest))
        except (ArtifactMissingError, ArtifactCorruptError, BadDigestError):
            return False
        return True

    async def _javascript_wasm(self, source: JavaScriptSource) -> bytes:
        if source.assets is None:
            raise SourceError("only jsSource.assets is built yet: git and npm are not")
        files = {file.path: file.content for file in source.assets.files}
        try:
            return (await self._javascript.build(files, source.entrypoint)).wasm
        except BuildError as error:
            raise SourceError(error.public, detail=error.detail) from error
