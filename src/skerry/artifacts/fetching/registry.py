"""One repository of an OCI registry: its manifests and blobs, and how the registry is told who asks.

Owns the distribution protocol (https://github.com/opencontainers/distribution-spec) and its token flow
(https://distribution.github.io/distribution/spec/auth/token/). Does not own what is in an image (`images`).

Invariant: what is returned has the digest by which it was asked for. A password goes to the registry that it is for,
and to the token service that this registry names, and over TLS unless the registry is one that needs none.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

import orjson

from skerry.api.code_urls import DOCKER_HUB, OciReference
from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.credentials import Credentials
from skerry.artifacts.fetching.http import Answer, HttpClient, Request
from skerry.artifacts.fetching.images import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from skerry.artifacts.fetching.settings import FetchSettings

#: The limit that the distribution spec asks registries to hold at least, and that they hold.
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
#: Far above any token or greeting.
_SMALL_BYTES_MAX = 1024 * 1024
_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
_CLIENT_ID = "skerry"

#: A scheme that parameters follow, or a parameter: name, quoted value, bare value. Each begins where a word does, so
#: that no header, however long, is looked at twice.
_CHALLENGE_PART = re.compile(
    r'(?<![A-Za-z_])(?:([A-Za-z]+)\s+(?=[A-Za-z_]+=)|([A-Za-z_]+)=(?:"([^"]*)"|([^",\s]*)))', re.ASCII
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index as it was served."""

    content: bytes
    media_type: str
    digest: str


class Repository:
    """A repository, for the length of one fetch.

    Args:
        http: makes the requests.
        reference: names registry and repository.
        credentials: None to ask as nobody.
        settings: which registries are insecure, and how large a layer may be.
    """

    def __init__(
        self, http: HttpClient, reference: OciReference, credentials: Credentials | None, settings: FetchSettings
    ) -> None:
        self._http = http
        self._reference = reference
        self._credentials = credentials
        self._settings = settings
        host = "registry-1.docker.io" if reference.registry == DOCKER_HUB else reference.registry
        self._host = host
        self._insecure = settings.is_insecure(host)
        self._plain_allowed = self._insecure or is_loopback(urlsplit(f"//{host}").hostname or "")
        self._base = ""
        self._authorization = ""

    async def manifest(self, reference: str) -> Manifest:
        """Return the manifest of a tag, or of a digest `sha256:...`.

        Raises:
            FetchError: NotFound, Unauthorized, DigestMismatch, or why the registry can't be asked.
        """
        what = f"{self._reference.registry}/{self._reference.repository}:{reference}".replace(":sha256:", "@sha256:")
        answer = await self._get(f"manifests/{reference}", MANIFEST_BYTES_MAX, what)
        if reference.startswith("sha256:") and reference != f"sha256:{answer.sha256}":
            raise FetchError("DigestMismatch", f"the registry served another manifest than {what}")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Manifest(answer.body, media_type, answer.sha256)

    async def blob(self, descriptor: Descriptor, into: BinaryIO | None = None) -> bytes:
        """Return a blob, checked; with `into`, an empty file, write it there and return nothing.

        Raises:
            FetchError: TooLarge, NotFound, DigestMismatch, or why the registry can't be asked.
        """
        limit = self._settings.code_bytes_max
        if descriptor.size_bytes > limit:
            raise FetchError("TooLarge", f"a layer of {descriptor.size_bytes} bytes is over the limit of {limit} bytes")
        what = f"layer sha256:{descriptor.digest} of {self._reference}"
        answer = await self._get(f"blobs/sha256:{descriptor.digest}", limit, what, into)
        if answer.sha256 != descriptor.digest:
            raise FetchError("DigestMismatch", f"the registry served other content than {what} has")
        return answer.body

    async def _get(self, path: str, bytes_max: int, what: str, into: BinaryIO | None = None) -> Answer:
        """Ask for something, once more with credentials where the registry asks for some."""
        base = await self._base_url()
        url = f"{base}/{self._reference.repository}/{path}"
        answer = await self._ask(url, bytes_max, into)
        if answer.status == 401:
            self._authorization = await self._authorize(answer)
            answer = await self._ask(url, bytes_max, into)
        match answer.status:
            case 200:
                return answer
            case 401 | 403:
                hint = "with the credentials given" if self._credentials else "without credentials"
                raise FetchError("Unauthorized", f"the registry refuses {what} {hint} ({answer.status})")
            case 404:
                raise FetchError("NotFound", f"the registry has no {what}")
            case status:
                raise FetchError("ManifestFailed", f"the registry answered {status} for {what}")

    async def _ask(self, url: str, bytes_max: int, into: BinaryIO | None) -> Answer:
        headers = {"accept": _ACCEPT if "/manifests/" in url else "*/*"}
        if self._authorization:
            headers["authorization"] = self._authorization
        return await self._http.send(Request(url, bytes_max, headers, into=into, insecure=self._insecure))

    async def _base_url(self) -> str:
        """Return the root of the API; where plain HTTP is allowed, TLS is tried first."""
        if not self._base:
            self._base = f"https://{self._host}/v2"
            if self._plain_allowed and not await self._http.speaks_tls(self._base + "/", insecure=self._insecure):
                self._base = f"http://{self._host}/v2"
        return self._base

    async def _authorize(self, refused: Answer) -> str:
        """Return the value of an Authorization header, as a 401 asks for it."""
        for scheme, parameters in challenges(refused.headers.get_list("www-authenticate")):
            if scheme == "bearer" and "realm" in parameters:
                return "Bearer " + await self._token(parameters)
            if scheme == "basic" and self._credentials is not None:
                return self._credentials.basic
        return ""

    async def _token(self, parameters: dict[str, str]) -> str:
        realm = urlsplit(parameters["realm"])
        if realm.scheme not in {"http", "https"} or not realm.hostname:
            raise FetchError("Unauthorized", "the registry names a token service that is no http or https URL")
        if realm.scheme == "http" and not (self._insecure or is_loopback(realm.hostname)):
            raise FetchError(
                "Unauthorized", "the registry names a token service without TLS: no password is sent there"
            )
        scope = f"repository:{self._reference.repository}:pull"
        answer = await self._http.send(self._token_request(realm.geturl(), parameters.get("service", ""), scope))
        if answer.status != 200:
            raise FetchError("Unauthorized", f"the token service {realm.hostname} answered {answer.status}")
        return _token_in(answer.body)

    def _token_request(self, realm: str, service: str, scope: str) -> Request:
        query = {"scope": scope} | ({"service": service} if service else {})
        credentials = self._credentials
        if credentials is not None and credentials.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": _CLIENT_ID,
            }
            return Request(realm, _SMALL_BYTES_MAX, form=form, insecure=self._insecure)
        headers = {"authorization": credentials.basic} if credentials is not None else {}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        return Request(url, _SMALL_BYTES_MAX, headers, insecure=self._insecure)


def challenges(headers: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Read WWW-Authenticate headers (RFC 9110, 11.6.1): each challenge's scheme in lower case, and its parameters."""
    for header in headers:
        found: list[tuple[str, dict[str, str]]] = []
        for scheme, name, quoted, bare in _CHALLENGE_PART.findall(header):
            if scheme:
                found.append((scheme.lower(), {}))
            elif found:
                found[-1][1][name.lower()] = quoted or bare
        yield from found


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its very name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token_in(body: bytes) -> str:
    try:
        answer: Any = orjson.loads(body)
        token = answer.get("token") or answer.get("access_token")
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise FetchError("Unauthorized", "the token service's answer can't be read") from error
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise FetchError("Unauthorized", "the token service's answer holds no token")
    return token
