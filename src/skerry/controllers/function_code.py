"""How a revision's code arrives: by its source, to a stored artifact.

Owns the choice of the way by source, and which failures are the author's. Does not own the ways (`artifacts`), nor what
a Wasm binary must be (the engine's check, which is handed in).
"""

import base64
import binascii
from typing import Protocol

from skerry.api.apoxy_function_code import (
    JavaScriptGitSource,
    JavaScriptNpmSource,
    JavaScriptSource,
    SecretReference,
    WasmSource,
    pinned_place,
    repository_place,
)
from skerry.api.core_v1 import Secret
from skerry.api.extensions_v1alpha2 import Artifact, EdgeFunctionRevision, ResolvedSource
from skerry.api.function_template import FILTER
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    BuildError,
    BundleRefusedError,
    FetchError,
)
from skerry.artifacts.fetching.credentials import Credentials
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.functions import TAG_DEFAULT, FunctionBuild, FunctionBuilder
from skerry.artifacts.git.repositories import GitRepositories, GitSource
from skerry.artifacts.keep import ArtifactKeep
from skerry.client.informer import Informer
from skerry.controllers.builds import FINAL, Built, SourceError

_BASIC_AUTH = "kubernetes.io/basic-auth"
_RESOLVED_NOW = (
    "the dependencies were resolved when this was built, since there is no package-lock.json: "
    "add the one that npm install writes to decide them yourself"
)


class BinaryCheck(Protocol):
    """Proves that a function's Wasm binary loads in the engine."""

    async def check(self, wasm: bytes, *, is_filter: bool = False) -> None:
        """Load it once; raises BundleRefusedError, also where it must be a filter and can't."""
        ...


class FunctionCodeBuilder:
    """Brings a revision's code, by whatever way its source names, and stores it.

    Args:
        javascript: makes Wasm of JavaScript files and packages.
        repositories: brings source files.
        fetcher: brings Wasm binaries.
        checker: tries them in the engine.
        keep: stores the result.
        secrets: the cache of Secrets, for credentials.
    """

    def __init__(
        self,
        javascript: FunctionBuilder,
        repositories: GitRepositories,
        fetcher: CodeFetcher,
        checker: BinaryCheck,
        keep: ArtifactKeep,
        secrets: Informer[Secret],
    ) -> None:
        self._javascript = javascript
        self._repositories = repositories
        self._fetcher = fetcher
        self._checker = checker
        self._keep = keep
        self._secrets = secrets

    async def build(self, revision: EdgeFunctionRevision) -> Built:
        """Build and store; raises SourceError where the source is at fault."""
        code, resolved = revision.spec.code, revision.status.source
        try:
            if code.wasm_source is not None:
                return Built(await self._fetched(code.wasm_source, is_filter=revision.spec.mode == FILTER))
            if code.js_source is not None:
                return await self._bundled(code.js_source, resolved or ResolvedSource())
        except (BuildError, BundleRefusedError) as error:
            raise SourceError(error.public, detail=error.detail) from error
        except FetchError as error:
            if error.reason in FINAL:
                raise SourceError(error.public) from error
            raise
        raise SourceError("the code has no source that the engine runs: use jsSource or wasmSource")

    async def _fetched(self, source: WasmSource, *, is_filter: bool) -> Artifact:
        url, sha256 = pinned_place(source.url)
        fetched = await self._fetcher.fetch(Source(url, sha256=sha256, accept=_left_to_the_engine))
        await self._checker.check(await self._keep.read(fetched.digest), is_filter=is_filter)
        return Artifact(digest=str(fetched.digest), size_bytes=fetched.size_bytes)

    async def is_stored(self, artifact: Artifact) -> bool:
        """Tell whether the keep has an artifact, whole."""
        try:
            await self._keep.verify(Digest.parse(artifact.digest))
        except (ArtifactMissingError, ArtifactCorruptError):
            return False
        return True

    async def _bundled(self, source: JavaScriptSource, resolved: ResolvedSource) -> Built:
        lock = await self._kept_lock(resolved)
        if source.npm is not None:
            return await self._from_npm(source.npm, source.entrypoint, resolved, lock)
        commit = ""
        if source.git is not None:
            checkout = await self._repositories.checkout(await self._git_source(source.git, resolved))
            commit, files = checkout.commit, checkout.files
        else:
            files = {file.path: file.content for file in source.assets.files} if source.assets else {}
        build = await self._javascript.from_files(files, source.entrypoint, lock=lock)
        return await self._stored(build, ResolvedSource(commit=commit or None), _RESOLVED_NOW if build.lock else "")

    async def _from_npm(
        self, source: JavaScriptNpmSource, entrypoint: str, resolved: ResolvedSource, lock: str
    ) -> Built:
        asked = source.version or TAG_DEFAULT
        version = asked if lock else resolved.version or asked  # a lock that was lost still leaves its version
        build = await self._javascript.from_package(source.package, version, entrypoint, lock=lock)
        return await self._stored(build, ResolvedSource(version=build.version))

    async def _stored(self, build: FunctionBuild, source: ResolvedSource, note: str = "") -> Built:
        digest = await self._keep.put(build.function.wasm)
        if build.lock:
            source.lock = str(await self._keep.put(build.lock.encode()))
        said = source if source != ResolvedSource() else None
        return Built(Artifact(digest=str(digest), size_bytes=len(build.function.wasm)), said, note)

    async def _kept_lock(self, resolved: ResolvedSource) -> str:
        """Return the lock that a revision was built by before; "" for one that was not, or whose lock is lost."""
        if resolved.lock is None:
            return ""
        try:
            return (await self._keep.read(Digest.parse(resolved.lock))).decode()
        except (ArtifactMissingError, ArtifactCorruptError, UnicodeDecodeError):
            return ""

    async def _git_source(self, source: JavaScriptGitSource, resolved: ResolvedSource) -> GitSource:
        return GitSource(
            repository_place(source.repository),
            branch=source.branch or "",
            commit=source.commit or resolved.commit or "",
            directory=source.directory or "",
            credentials=await self._credentials(source.credentials_ref) if source.credentials_ref else None,
        )

    async def _credentials(self, reference: SecretReference) -> Credentials:
        await self._secrets.synced()
        secret = self._secrets.get(reference.name, reference.namespace)
        where = f"the secret {reference.namespace}/{reference.name} of credentialsRef"
        if secret is None:
            raise FetchError("CredentialsInvalid", f"there is no {where.removeprefix('the ')}")
        if secret.type != _BASIC_AUTH:
            raise FetchError("CredentialsInvalid", f"{where} must be of type {_BASIC_AUTH}, not {secret.type}")
        data = secret.data or {}
        try:
            user, password = (base64.b64decode(data.get(key, ""), validate=True).decode() for key in _BASIC_KEYS)
        except (binascii.Error, UnicodeDecodeError) as error:
            raise FetchError("CredentialsInvalid", f"{where} holds a username or password that is no text") from error
        return Credentials(user, password)


_BASIC_KEYS = ("username", "password")


def _left_to_the_engine(_module: bytes) -> None:
    """Accept any binary: what it must be, the engine tells, which has to run it."""
