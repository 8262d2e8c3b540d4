"""From a source to kept code: bring it, unpack it, check it, keep it by its sha256.

Owns the order of these steps, the bounds of a fetch as a whole, and that the same fetch is made once for all who ask.
Does not own when code is fetched, nor what a failure means for who asked.

Invariant: code is kept only once its digest, its signature and its form have been checked. One host, however slow,
takes no more than its share of the fetches at once.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from prometheus_client import Counter

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import (
    ArtifactCorruptError,
    ArtifactMissingError,
    FetchError,
    FetchReason,
    KeepFullError,
    KeepUnavailableError,
)
from skerry.artifacts.fetching.downloads import Download, Downloads, Source, content_of
from skerry.artifacts.fetching.forms import WASM_MODULE
from skerry.artifacts.fetching.http import HttpClient
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.fetching.unboxing import unbox
from skerry.artifacts.keep import ArtifactKeep
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import SharedCalls, run_blocking

log = get_logger(__name__)
FETCHES = Counter("skerry_wasm_remote_fetch_count", "Fetches of code, by what came of them.", ["result"])

#: What Istio's agent calls the failures of a fetch, where it has a word.
_RESULTS: dict[FetchReason, str] = {
    "DigestMismatch": "checksum_mismatched",
    "ImageUnsupported": "manifest_failure",
    "KeepFull": "keep_full",
    "ManifestFailed": "manifest_failure",
    "NotProxyWasm": "fetch_failure",
    "NotSharedObject": "fetch_failure",
    "NotWasm": "fetch_failure",
    "SignatureInvalid": "signature_invalid",
    "Unauthorized": "unauthorized",
}
_OTHER_RESULT = "download_failure"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Code that is kept.

    Attributes:
        digest: its name in the keep.
        size_bytes: its size.
        url: where it came from, in full; an image with its manifest's digest.
    """

    digest: Digest
    size_bytes: int
    url: str


class CodeFetcher:
    """Fetches code; use it as an async context manager.

    Args:
        keep: where code is kept.
        settings: what may be fetched, and what it may cost.
    """

    def __init__(self, keep: ArtifactKeep, settings: FetchSettings) -> None:
        self._keep = keep
        self._settings = settings
        self._http = HttpClient(settings)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="code-unboxing")
        self._downloads = Downloads(self._http, keep, settings, self._executor)
        self._calls: SharedCalls[Source, Fetched] = SharedCalls("code-fetch")
        self._slots = asyncio.Semaphore(settings.concurrent_max)
        self._hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # while a fetch holds it

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)
        self._executor.shutdown(wait=True)

    def remember(self, url: str, digest: Digest) -> None:
        """Note which module an earlier fetch brought: `url` and `digest` of its `Fetched`. For after a restart."""
        _, at, manifest = url.rpartition("@sha256:")
        if at:
            self._downloads.remember(WASM_MODULE, manifest, digest)

    async def is_kept(self, digest: Digest) -> bool:
        """Tell whether code is at hand, without looking at its content."""
        return await self._keep.has(digest)

    async def is_whole(self, digest: Digest) -> bool:
        """Tell whether code is at hand and undamaged."""
        try:
            await self._keep.verify(digest)
        except (ArtifactMissingError, ArtifactCorruptError):
            return False
        return True

    async def fetch(self, source: Source) -> Fetched:
        """Bring code and keep it.

        Raises:
            FetchError: it can't be had, or the keep has no room for it; SignatureError where it is not signed as it
                should be.
        """
        if self._calls.statistics()["waiting"] >= self._settings.waiting_max:
            raise FetchError("DownloadFailed", f"{self._settings.waiting_max} fetches are waiting already")
        return await self._calls.run(source, lambda: self._fetch(source))

    async def _fetch(self, source: Source) -> Fetched:
        try:
            async with self._turn(source):
                fetched = await self._bring_and_keep(source)
        except FetchError as error:
            FETCHES.labels(_RESULTS.get(error.reason, _OTHER_RESULT)).inc()
            raise
        FETCHES.labels("success").inc()
        log.info("fetched code", url=fetched.url, digest=str(fetched.digest), size_bytes=fetched.size_bytes)
        return fetched

    async def _bring_and_keep(self, source: Source) -> Fetched:
        seconds = self._settings.fetch_seconds_max
        try:
            with self._keep.scratch() as code:
                with within(seconds):
                    download = await self._downloads.bring(source, code)
                module = await run_blocking(self._executor, lambda: self._unpacked(source, download, code))
            digest = await self._keep.put(module)
        except TimeoutError as error:
            raise FetchError("TimedOut", f"{source.url} can't be fetched within {seconds:g} seconds") from error
        except KeepFullError as error:
            raise FetchError("KeepFull", error.public) from error
        except KeepUnavailableError as error:
            raise FetchError("DownloadFailed", error.public) from error
        except OSError as error:
            raise FetchError("KeepFull", f"the code can't be written to disk: {error.strerror}") from error
        if download.manifest:
            self._downloads.remember(source.form, download.manifest, digest)
        return Fetched(digest, len(module), download.url)

    def _unpacked(self, source: Source, download: Download, code: BinaryIO) -> bytes:
        """Unpack and check a module; blocking, and one at a time, because it may be large and is in memory here."""
        module = unbox(
            content_of(code), bytes_max=self._settings.code_bytes_max, wanted=download.wanted, form=source.form
        )
        if source.sha256 and not download.manifest:
            actual = hashlib.sha256(module).hexdigest()
            if actual != source.sha256:
                raise FetchError(
                    "DigestMismatch", f"the module has the sha256 {actual}, not the {source.sha256} asked for"
                )
        source.accept(module)
        return module

    @asynccontextmanager
    async def _turn(self, source: Source) -> AsyncIterator[None]:
        """Wait for a place among the fetches of one host, then among all."""
        host = urlsplit(str(source.url)).netloc
        slots = self._hosts.get(host)
        if slots is None:
            slots = self._hosts[host] = asyncio.Semaphore(self._settings.per_host_max)
        async with slots, self._slots:
            yield
