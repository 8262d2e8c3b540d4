"""How a revision's code arrives: by its source, to a stored artifact.

Owns the choice of the way by source, and which failures are the author's. Does not own the ways (`artifacts`), nor what
a Wasm binary must be (the engine's check, which is handed in).
"""

from skerry.api.apoxy_function_code import JavaScriptSource, WasmSource, wasm_place
from skerry.api.extensions_v1alpha2 import (
    BACKEND,
    Artifact,
    EdgeFunctionRevisionSpec,
)
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    BadDigestError,
    BuildError,
    BundleRefusedError,
    FetchError,
    FetchReason,
)
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.javascript import BundleCheck, JavaScriptBuilder
from skerry.artifacts.keep import ArtifactKeep
from skerry.controllers.edge_functions import SourceError

#: What another try would meet again.
_FINAL: frozenset[FetchReason] = frozenset(("DigestMismatch", "ImageUnsupported", "NotWasm", "TooLarge"))


class FunctionCodeBuilder:
    """Brings a revision's code: JavaScript and TypeScript from assets, Wasm from wherever it lies.

    Args:
        javascript: bundles, checks and links JavaScript.
        fetcher: brings Wasm binaries.
        checker: tries them in the engine.
        keep: stores the result.
    """

    def __init__(
        self, javascript: JavaScriptBuilder, fetcher: CodeFetcher, checker: BundleCheck, keep: ArtifactKeep
    ) -> None:
        self._javascript = javascript
        self._fetcher = fetcher
        self._checker = checker
        self._keep = keep

    async def build(self, spec: EdgeFunctionRevisionSpec) -> Artifact:
        """Build and store; raises SourceError where the source is at fault."""
        code = spec.code
        if spec.mode != BACKEND:
            raise SourceError("mode filter is not served yet: use mode backend")
        if code.wasm_source is not None:
            return await self._fetched(code.wasm_source)
        if code.js_source is None:
            raise SourceError("goPluginSource is not served yet: use jsSource or wasmSource")
        wasm = await self._javascript_wasm(code.js_source)
        digest = await self._keep.put(wasm)
        return Artifact(digest=str(digest), size_bytes=len(wasm))

    async def _fetched(self, source: WasmSource) -> Artifact:
        url, sha256 = wasm_place(source.url)
        try:
            fetched = await self._fetcher.fetch(Source(url, sha256=sha256, accept=_left_to_the_engine))
        except FetchError as error:
            if error.reason in _FINAL:
                raise SourceError(error.public) from error
            raise
        try:
            await self._checker.check(await self._keep.read(fetched.digest))
        except BundleRefusedError as error:
            raise SourceError(error.public) from error
        return Artifact(digest=str(fetched.digest), size_bytes=fetched.size_bytes)

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


def _left_to_the_engine(_module: bytes) -> None:
    """Accept any binary: what it must be, the engine tells, which has to run it."""
