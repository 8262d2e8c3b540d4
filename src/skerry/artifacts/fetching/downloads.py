"""The three ways to code: an image of a registry, an address of the web, a file of this machine.

Owns what each way does to find, pin and verify what it brings. Does not own how the module is unpacked and kept
(`fetcher`).

Invariant: what a way returns has been checked against its verification key, where there is one; an image's digest
against the pin. A file's pin is on the module in it, so it is checked once that is unpacked.
"""

import io
import shutil
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from prometheus_client import Counter, Gauge

from skerry.api.code_urls import CodeUrl, FileUrl, HttpUrl, OciReference
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError, FetchError, SignatureError
from skerry.artifacts.fetching.credentials import Credentials, credentials_for
from skerry.artifacts.fetching.files import read_file
from skerry.artifacts.fetching.forms import WASM_MODULE, CodeForm
from skerry.artifacts.fetching.http import HttpClient, Request
from skerry.artifacts.fetching.images import (
    choose_child,
    code_layer,
    is_index,
    layers_of,
    parse_document,
)
from skerry.artifacts.fetching.proxy_wasm import require_proxy_wasm
from skerry.artifacts.fetching.registry import Manifest, Repository
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.fetching.signatures import (
    PAYLOAD_BYTES_MAX,
    SIGNATURE_ANNOTATION,
    SIGNATURES_MAX,
    SIMPLE_SIGNING_TYPE,
    Verifier,
    load_verifier,
    names_digest,
    signature_tag,
)
from skerry.artifacts.fetching.unboxing import Wanted, any_file
from skerry.artifacts.keep import ArtifactKeep
from skerry.kit.tasks import run_blocking

CACHE_LOOKUPS = Counter("skerry_wasm_cache_lookup_count", "Looks for code that may be kept already.", ["hit"])
CACHE_ENTRIES = Gauge("skerry_wasm_cache_entries", "Images whose module is known.")

#: Images whose module is remembered; one entry is two digests.
IMAGES_REMEMBERED_MAX = 10_000
_DOCKER_CONFIG_BYTES_MAX = 1024 * 1024
_ANYWHERE = (Path("/"),)


@dataclass(frozen=True, slots=True)
class Source:
    """Where code is to come from, and what must be true of it.

    Attributes:
        url: the place.
        sha256: 64 hexadecimal digits, or "": of the module for web and files, of a manifest or index for images.
        docker_config: credentials, as a docker configuration in JSON; None to use the control plane's own.
        verification_key: a public key in PEM that must have signed it; "" for none.
        accept: raises FetchError for code that is not as it should be.
        form: what the code is.
    """

    url: CodeUrl
    sha256: str = ""
    docker_config: bytes | None = field(default=None, repr=False)
    verification_key: str = ""
    accept: Callable[[bytes], None] = require_proxy_wasm
    form: CodeForm = WASM_MODULE


@dataclass(frozen=True, slots=True)
class Download:
    """What is known of code that was brought, packed as it came.

    Attributes:
        url: the place in full; an image with its manifest's digest.
        wanted: which file of an archive is the module.
        manifest: digest of the image's manifest; "" for what is no image.
    """

    url: str
    wanted: Wanted = any_file
    manifest: str = ""


class Downloads:
    """Brings code, one method a way.

    Args:
        http: makes the requests.
        keep: where code may lie already.
        settings: what may be fetched.
        executor: for files, and for work that takes as long as a file is large.
    """

    def __init__(
        self, http: HttpClient, keep: ArtifactKeep, settings: FetchSettings, executor: ThreadPoolExecutor
    ) -> None:
        self._http = http
        self._keep = keep
        self._settings = settings
        self._executor = executor
        self._modules: OrderedDict[tuple[CodeForm, str], Digest] = OrderedDict()

    def remember(self, form: CodeForm, manifest: str, code: Digest) -> None:
        """Note which code of a form an image holds, so that its layers need not be brought again."""
        self._modules[form, manifest] = code
        self._modules.move_to_end((form, manifest))
        if len(self._modules) > IMAGES_REMEMBERED_MAX:
            self._modules.popitem(last=False)
        CACHE_ENTRIES.set(len(self._modules))

    async def bring(self, source: Source, into: BinaryIO) -> Download:
        """Bring code by the way that its URL names, into an empty file; raises FetchError."""
        verifier = load_verifier(source.verification_key) if source.verification_key else None
        match source.url:
            case OciReference():
                return await self._image(source, source.url, verifier, into)
            case HttpUrl():
                return await self._beside_signature(source, verifier, self._web, into)
            case FileUrl():
                return await self._beside_signature(source, verifier, self._file, into)

    async def _image(
        self, source: Source, reference: OciReference, verifier: Verifier | None, into: BinaryIO
    ) -> Download:
        credentials = await self._credentials(source, reference)
        repository = Repository(self._http, reference, credentials, self._settings)
        top = await repository.manifest(f"sha256:{reference.digest}" if reference.digest else reference.tag)
        image = await _image_of(repository, top, source.form)
        digests = (top.digest, image.digest)
        if source.sha256 and source.sha256 not in digests:
            raise FetchError(
                "DigestMismatch",
                f"the image's manifest has the sha256 {image.digest}, not the {source.sha256} asked for",
            )
        if verifier is not None:
            await _require_signed_image(repository, digests, verifier)
        layer = code_layer(parse_document(image.content), source.form)
        # An image that was unpacked before, or a layer that is the code, may be kept.
        kept = self._modules.get((source.form, image.digest)) or Digest(layer.descriptor.digest)
        if not await self._take_kept(kept, into):
            await repository.blob(layer.descriptor, into)
        return Download(str(replace(reference, digest=image.digest)), layer.wanted, image.digest)

    async def _take_kept(self, digest: Digest, into: BinaryIO) -> bool:
        """Take code from the keep, if it is there."""
        try:
            path = await self._keep.verify(digest)
            await run_blocking(self._executor, lambda: _copy(path, into))
        except (ArtifactMissingError, ArtifactCorruptError, FileNotFoundError):
            CACHE_LOOKUPS.labels("false").inc()
            return False
        CACHE_LOOKUPS.labels("true").inc()
        return True

    async def _credentials(self, source: Source, reference: OciReference) -> Credentials | None:
        configuration = source.docker_config
        path = self._settings.docker_config
        if configuration is None and path is not None and path.is_file():
            configuration = await run_blocking(
                self._executor, lambda: read_file(str(path), _ANYWHERE, bytes_max=_DOCKER_CONFIG_BYTES_MAX)
            )
        return None if configuration is None else credentials_for(configuration, reference)

    async def _beside_signature(
        self, source: Source, verifier: Verifier | None, bring: Any, into: BinaryIO
    ) -> Download:
        """Bring a file, and the signature that stands beside it."""
        is_kept = source.sha256 and verifier is None and await self._take_kept(Digest(source.sha256), into)
        if not is_kept:
            await bring(source.url, self._settings.code_bytes_max, into)
        if verifier is not None:
            beside, signature = _signature_url(source.url), io.BytesIO()
            try:
                await bring(beside, PAYLOAD_BYTES_MAX, signature)
            except FetchError as error:
                raise SignatureError(f"the code has no signature: {error.public}") from error
            if not await self._is_signed(verifier, into, signature.getvalue()):
                raise SignatureError(f"the signature {beside} is not one of this code with spec.verificationKey")
        return Download(str(source.url))

    async def _is_signed(self, verifier: Verifier, code: BinaryIO, signature: bytes) -> bool:
        text = signature.decode(errors="replace")
        return await run_blocking(self._executor, lambda: verifier.is_signed(content_of(code), text))

    async def _web(self, url: HttpUrl, bytes_max: int, into: BinaryIO) -> None:
        insecure = self._settings.is_insecure(urlsplit(url.url).netloc)
        answer = await self._http.send(Request(url.url, bytes_max, into=into, insecure=insecure))
        match answer.status:
            case 200:
                return
            case 404 | 410:
                raise FetchError("NotFound", f"{url} is not there ({answer.status})")
            case 401 | 403:
                raise FetchError("Unauthorized", f"{url} is refused ({answer.status})")
            case status:
                raise FetchError("DownloadFailed", f"{url} answered {status}")

    async def _file(self, url: FileUrl, bytes_max: int, into: BinaryIO) -> None:
        directories = self._settings.file_dirs
        await run_blocking(self._executor, lambda: into.write(read_file(url.path, directories, bytes_max=bytes_max)))


def content_of(code: BinaryIO) -> bytes:
    """Return all of a file that code was brought into; blocking."""
    code.seek(0)
    return code.read()


def _copy(path: Path, into: BinaryIO) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, into)


async def _image_of(repository: Repository, top: Manifest, form: CodeForm) -> Manifest:
    """Return the image that a manifest is, or that an index leads to."""
    document = parse_document(top.content)
    if not is_index(top.media_type, document):
        return top
    image = await repository.manifest(f"sha256:{choose_child(document, form).digest}")
    if is_index(image.media_type, parse_document(image.content)):
        raise FetchError("ImageUnsupported", "the image's index lists another index")
    return image


async def _require_signed_image(repository: Repository, digests: tuple[str, str], verifier: Verifier) -> None:
    """Check that the key has signed the image, or the index that led to it; raises SignatureError."""
    found = False
    for digest in dict.fromkeys(digests):
        try:
            signatures = await repository.manifest(signature_tag(digest))
        except FetchError as error:
            if error.reason != "NotFound":
                raise
            continue
        found = True
        for layer in layers_of(parse_document(signatures.content))[:SIGNATURES_MAX]:
            if layer.media_type != SIMPLE_SIGNING_TYPE or layer.size_bytes > PAYLOAD_BYTES_MAX:
                continue
            payload = await repository.blob(layer)
            signed = verifier.is_signed(payload, str(layer.annotations.get(SIGNATURE_ANNOTATION, "")))
            if signed and names_digest(payload, digest):
                return
    what = "none of its signatures is one with spec.verificationKey" if found else "it has no signature"
    raise SignatureError(f"the image sha256:{digests[-1]} is not signed: {what}")


def _signature_url(url: CodeUrl) -> HttpUrl | FileUrl:
    """Return where the signature of a file stands: `.sig` behind its path."""
    if isinstance(url, FileUrl):
        return FileUrl(f"{url.path}.sig")
    parts = urlsplit(str(url))
    return HttpUrl(parts._replace(path=f"{parts.path}.sig").geturl())
