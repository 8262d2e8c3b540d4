"""The npm registry that is configured: what it says about packages, and their tarballs.

Owns the addresses within it, and its token. Invariant: every package comes from this registry, also where a lock file
names another host, and the token goes to its origin alone and into no message.
"""

from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from skerry.artifacts.errors import FetchError, FetchReason
from skerry.artifacts.fetching.http import Answer, HttpClient, Request
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.npm.lock import Package

#: What a registry says about one package: one with thousands of versions takes some megabytes.
METADATA_BYTES_MAX = 64 * 1024 * 1024
#: One package, packed.
TARBALL_BYTES_MAX = 64 * 1024 * 1024
ABBREVIATED = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8"

_REASONS: dict[int, FetchReason] = {401: "Unauthorized", 403: "Unauthorized", 404: "NotFound", 410: "NotFound"}


@dataclass(frozen=True, slots=True)
class Registry:
    """Where packages come from; `token` is a bearer token, or ""."""

    url: str
    token: str = field(default="", repr=False)


class RegistryClient:
    """Asks a registry."""

    def __init__(self, http: HttpClient, registry: Registry, settings: FetchSettings) -> None:
        self._http = http
        self._registry = registry
        self._settings = settings
        self._base = registry.url.rstrip("/")

    async def metadata(self, path: str) -> Answer:
        """Ask for a path beneath the registry, as npm names packages in it; any status below 500 is an answer."""
        return await self._send(f"{self._base}/{path}", METADATA_BYTES_MAX, {"accept": ABBREVIATED})

    async def tarball(self, package: Package) -> bytes:
        """Bring a package; raises FetchError."""
        url = self._tarball_url(package)
        answer = await self._send(url, TARBALL_BYTES_MAX, {})
        if answer.status != 200:
            told = f"the npm registry answered {answer.status} for {package.name}@{package.version}"
            raise FetchError(_REASONS.get(answer.status, "DownloadFailed"), told)
        return answer.body

    def _tarball_url(self, package: Package) -> str:
        if package.resolved.startswith(f"{self._base}/"):
            return package.resolved
        unscoped = package.name.rpartition("/")[2]
        return f"{self._base}/{quote(package.name, safe='@/')}/-/{quote(unscoped)}-{quote(package.version)}.tgz"

    async def _send(self, url: str, bytes_max: int, headers: dict[str, str]) -> Answer:
        token = self._registry.token
        authorization = {"authorization": f"Bearer {token}"} if token else {}
        insecure = self._settings.is_insecure(urlsplit(url).netloc)
        return await self._http.send(Request(url, bytes_max, {**headers, **authorization}, insecure=insecure))
