"""How the code of filters arrives that Envoy runs itself: shared objects, and Proxy-Wasm modules.

Owns what such code must be, and with whose credentials it is brought. Does not own how it is brought (`artifacts`), nor
the trial (`gateway`). What it does not know it leaves to the builder of all other functions.

Invariants: no shared object is brought where none may run; none is ready that this machine's Envoy refuses. (A Wasm
module is tried on each node, with its configuration, which is no part of a revision.) A password goes to the repository
that it is for, and nowhere else.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from skerry.api.apoxy_function_code import GoPluginSource, OCIImageRef, password_of, pinned_place, plugin_place
from skerry.api.code_urls import CodeUrl, OciReference
from skerry.api.config_text import config_json
from skerry.api.core_v1 import Secret
from skerry.api.extensions_v1alpha2 import FUNCTION_LABEL, Artifact, EdgeFunctionRevision, EnvoyLoader, plugin_name
from skerry.api.function_template import FILTER
from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import CodeFetcher, Fetched
from skerry.artifacts.fetching.forms import shared_object
from skerry.artifacts.fetching.proxy_wasm import is_proxy_wasm
from skerry.artifacts.keep import ArtifactKeep
from skerry.artifacts.shared_object import filter_loader
from skerry.client.informer import Informer
from skerry.controllers.builds import FINAL, Built, CodeBuilder, SourceError
from skerry.controllers.pull_secrets import docker_config_in
from skerry.gateway import ir
from skerry.gateway.filter_slots import FilterContent

#: Try a filter; returns why it is refused, or "".
Trial = Callable[[FilterContent], Awaitable[str]]

#: Each is a process of some hundred MiB, which takes a core for as long as it starts.
TRIALS_AT_ONCE_MAX = 2
NATIVES_OFF = (
    "goPluginSource is off on this control plane: a shared object runs within Envoy, where nothing holds it; "
    "the setting native_plugins turns it on"
)
_NATIVE_LOADERS: dict[EnvoyLoader, ir.NativeLoader] = {"DynamicModule": "dynamic_module", "GoFilter": "go"}
#: What Python calls a machine, and what OCI does.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class EnvoyCodeWays:
    """What brings and checks the code of filters.

    Attributes:
        fetcher: brings code.
        keep: has it then.
        secrets: the cache of Secrets, for credentials.
        trial: tries a filter in an Envoy of its own.
        natives: whether shared objects may run at all.
    """

    fetcher: CodeFetcher
    keep: ArtifactKeep
    secrets: Informer[Secret]
    trial: Trial
    natives: bool = False


class EnvoyCodeBuilder:
    """Brings what Envoy runs, and has all else built by another builder.

    Args:
        ways: bring and check code.
        others: builds what the engine runs.
    """

    def __init__(self, ways: EnvoyCodeWays, others: CodeBuilder) -> None:
        self._ways = ways
        self._others = others
        self._trials = asyncio.Semaphore(TRIALS_AT_ONCE_MAX)

    async def build(self, revision: EdgeFunctionRevision) -> Built:
        """Build and store; raises SourceError where the source is at fault."""
        try:
            built = await self._built(revision)
        except FetchError as error:
            if error.reason in FINAL:
                raise SourceError(error.public) from error
            raise
        return built or await self._others.build(revision)

    async def is_stored(self, artifact: Artifact) -> bool:
        """Tell whether the keep has an artifact, whole."""
        return await self._others.is_stored(artifact)

    async def _built(self, revision: EdgeFunctionRevision) -> Built | None:
        """Build what Envoy runs; None for what it does not."""
        code = revision.spec.code
        if code.go_plugin_source is not None:
            return await self._native(revision, code.go_plugin_source)
        if code.wasm_source is None or revision.spec.mode != FILTER:
            return None
        url, sha256 = pinned_place(code.wasm_source.url)
        found = list[bool]()
        fetched = await self._ways.fetcher.fetch(
            Source(url, sha256=sha256, accept=lambda module: found.append(is_proxy_wasm(module)))
        )
        return Built(_artifact(fetched, "ProxyWasm")) if found == [True] else None

    async def _native(self, revision: EdgeFunctionRevision, source: GoPluginSource) -> Built:
        if not self._ways.natives:
            raise SourceError(NATIVES_OFF)
        architecture = _ARCHITECTURES.get(platform.machine(), "")
        url, sha256 = plugin_place(source)
        loaders = list[EnvoyLoader]()
        fetched = await self._ways.fetcher.fetch(
            Source(
                url,
                sha256=sha256,
                docker_config=self._docker_config(source, url),
                accept=lambda content: loaders.append(filter_loader(content, architecture)),
                form=shared_object(architecture),
            )
        )
        (loader,) = loaders
        name = plugin_name(revision.spec.code, (revision.metadata.labels or {}).get(FUNCTION_LABEL, ""))
        config = config_json(source.plugin_config) if source.plugin_config else ""
        path = await self._ways.keep.verify(fetched.digest)
        native = ir.Native(_NATIVE_LOADERS[loader], str(path), name, config)
        async with self._trials:
            refusal = await self._ways.trial(FilterContent(native))
        if refusal:
            raise SourceError(f"Envoy refuses the code: {refusal}")
        return Built(_artifact(fetched, loader))

    def _docker_config(self, source: GoPluginSource, url: CodeUrl) -> bytes | None:
        """Return the credentials that a source brings; None where it brings none. Raises FetchError."""
        if source.oci is None or not isinstance(url, OciReference):
            return None
        if source.oci.credentials is not None:
            login = {
                "username": source.oci.credentials.username or "",
                "password": password_of(source.oci.credentials),
            }
            return orjson.dumps({"auths": {f"{url.registry}/{url.repository}": login}})
        return self._config_of_secret(source.oci)

    def _config_of_secret(self, image: OCIImageRef) -> bytes | None:
        reference = image.credentials_ref
        if reference is None:
            return None
        secret = self._ways.secrets.get(reference.name, reference.namespace)
        return docker_config_in(secret, f"credentialsRef: Secret {reference.namespace}/{reference.name}")


def _artifact(fetched: Fetched, loader: EnvoyLoader) -> Artifact:
    return Artifact(digest=str(fetched.digest), size_bytes=fetched.size_bytes, loader=loader)


__all__ = ["NATIVES_OFF", "EnvoyCodeBuilder", "EnvoyCodeWays", "Trial"]
