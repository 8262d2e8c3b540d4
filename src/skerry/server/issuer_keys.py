"""The public keys of an OpenID issuer: found by its discovery document, kept, and fetched again as they change.

Owns the fetching and its bounds; what a token must say, `oidc` decides. They are fetched at the start, every
`REFRESH_SECONDS` (so that a key that the issuer withdrew ends), and for a key id that is not known, at most once in
`PAUSE_SECONDS`: whoever sends tokens with made-up key ids makes no storm of it. Nothing waits for a fetch but requests
whose token names an unknown key.

Invariant: keys are replaced as a whole, by an answer that could be read to its end. An issuer that is away changes
nothing.
"""

import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import SharedCalls, Wakeup, background, keep_running
from skerry.kit.tls import system_trust

log = get_logger(__name__)

DISCOVERY_PATH = "/.well-known/openid-configuration"
DOCUMENT_BYTES_MAX = 256 * 1024
KEYS_MAX = 100
FETCH_SECONDS = 10.0
REFRESH_SECONDS = 600.0
PAUSE_SECONDS = 10.0
#: Requests that wait for one fetch; more are refused at once.
WAITING_MAX = 100

PublicKey = RSAKey | ECKey


class IssuerError(Exception):
    """The issuer's keys could not be had; told in our log only."""


class IssuerKeys:
    """The keys of one issuer; `running()` is its life.

    Args:
        issuer_url: as tokens name it in `iss`; checked by `url_problem`.
        ca_file: authorities to trust instead of the system's, in PEM.
        clock: for the pauses between fetches.

    Raises:
        ConfigurationError: the file holds no certificate.
    """

    def __init__(self, issuer_url: str, ca_file: Path | None, clock: Clock) -> None:
        self._issuer_url = issuer_url
        self._clock = clock
        self._keys: Mapping[tuple[str, str], PublicKey] = {}
        self._fetched_at: float | None = None
        self._calls: SharedCalls[str, None] = SharedCalls("issuer keys")
        self._http = httpx.AsyncClient(verify=_trust(ca_file), timeout=FETCH_SECONDS, trust_env=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Keep the keys fresh for the length of the block."""
        async with self._http, background(("issuer keys", self._run)):
            yield self

    async def _run(self) -> None:
        await keep_running("issuer keys", self._refresh, wakeup=Wakeup(), resync_seconds=REFRESH_SECONDS)

    async def find(self, key_id: str, key_type: str) -> PublicKey | None:
        """Return a key; None where the issuer has none such, or is away.

        Args:
            key_id: "" stands for the only key of an issuer that has one.
            key_type: RSA or EC.
        """
        found = self._known(key_id, key_type)
        if found is None and self._may_fetch():
            await self._refresh()
            found = self._known(key_id, key_type)
        return found

    def _known(self, key_id: str, key_type: str) -> PublicKey | None:
        if not key_id and len(self._keys) == 1:
            ((only, _),) = self._keys
            key_id = only
        return self._keys.get((key_id, key_type))

    def _may_fetch(self) -> bool:
        running = self._calls.statistics()
        if running["calls"]:
            return running["waiting"] < WAITING_MAX
        return self._fetched_at is None or self._clock.monotonic_seconds() - self._fetched_at >= PAUSE_SECONDS

    async def _refresh(self) -> None:
        await self._calls.run("", self._fetch)

    async def _fetch(self) -> None:
        try:
            with within(FETCH_SECONDS):
                self._keys = await self._fetched()
        except (IssuerError, httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            log.warning("the keys of the OpenID issuer can't be had", issuer=self._issuer_url, reason=reason)
        finally:
            self._fetched_at = self._clock.monotonic_seconds()

    async def _fetched(self) -> Mapping[tuple[str, str], PublicKey]:
        about = await self._document(self._issuer_url.rstrip("/") + DISCOVERY_PATH)
        if about.get("issuer") != self._issuer_url:
            raise IssuerError(f"the discovery document is of another issuer: {about.get('issuer')!r:.200}")
        jwks_uri = about.get("jwks_uri")
        if not isinstance(jwks_uri, str) or url_problem(jwks_uri):
            raise IssuerError(f"the discovery document's jwks_uri can't be used: {jwks_uri!r:.200}")
        return _keys_of(await self._document(jwks_uri))

    async def _document(self, url: str) -> dict[str, Any]:
        """Fetch a JSON object. Redirects are not followed, and nothing is unpacked: it could be of any size."""
        async with self._http.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
            if response.status_code != httpx.codes.OK:
                raise IssuerError(f"{url} answered {response.status_code}")
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise IssuerError(f"{url} answers more than {DOCUMENT_BYTES_MAX} bytes")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise IssuerError(f"{url} answers no JSON: {error}") from error
        if not isinstance(document, dict):
            raise IssuerError(f"{url} answers no JSON object")
        return document


def url_problem(url: str) -> str:
    """Say why an issuer is not to be reached at a URL; "" where it may be. Keys that others could swap are no keys."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port != 0
    except ValueError as error:
        return str(error)
    if not parts.hostname or not port_is_fine or parts.query or parts.fragment or parts.username is not None:
        return "must be a URL of a host and a path only"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return ""
    return "must start with https:// (http:// is for loopback addresses only)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return system_trust()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"oidc_ca_file: {ca_file} can't be used: {error}") from error


def _keys_of(document: dict[str, Any]) -> Mapping[tuple[str, str], PublicKey]:
    """Return the keys by id and type: those that sign, of the types that we know. A set without any is refused."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise IssuerError(f"the key set has no list of at most {KEYS_MAX} keys")
    keys = {}
    for item in listed:
        if not isinstance(item, dict) or item.get("kty") not in {"RSA", "EC"} or item.get("use", "sig") != "sig":
            continue
        try:
            key = import_key(item)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("a key of the OpenID issuer can't be used", kid=str(item.get("kid"))[:200], reason=str(error))
            continue
        if isinstance(key, RSAKey | ECKey):
            keys[str(item.get("kid", "")), str(item["kty"])] = key
    if not keys:
        raise IssuerError("the key set has no key that signs with RSA or EC")
    return keys
