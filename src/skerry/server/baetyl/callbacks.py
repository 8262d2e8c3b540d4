"""Tells others of activations, as the `Callback` of a product says; within bounds, and not everywhere.

Owns the request: its time, its tries, and where it may go (no link-local or metadata addresses, as for fetched code).
Does not own what is told (`fleet.registration`).
"""

import asyncio
from types import TracebackType
from typing import Self

import httpx

from skerry.api.baetyl_registration import CALLBACK, Callback
from skerry.api.errors import NotFound
from skerry.api.model import from_document
from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.egress import GuardedTransport
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.fleet.registration import CallbackRequest
from skerry.kit.backoff import Backoff
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tls import system_trust
from skerry.server.baetyl import errors
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs

log = get_logger(__name__)

#: All tries of one callback together; the device waits that long for its certificate.
CALLBACK_SECONDS_MAX = 20.0
TRY_SECONDS_MAX = 5.0
TRIES_MAX = 3


class Callbacks:
    """Sends callbacks; use it as an async context manager.

    Args:
        settings: which networks are blocked, and which authorities are trusted.
    """

    def __init__(self, settings: FetchSettings) -> None:
        transport = GuardedTransport(settings, system_trust(settings.ca_file))
        self._http = httpx.AsyncClient(transport=transport, timeout=TRY_SECONDS_MAX, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def send(self, request: CallbackRequest) -> None:
        """Send a request until it is answered with success; raises BaetylError where it is not, in time."""
        why, backoff = "it took too long", Backoff(first_seconds=0.2)
        try:
            with within(CALLBACK_SECONDS_MAX):
                for attempt in range(TRIES_MAX):
                    if attempt:
                        await asyncio.sleep(backoff.next_seconds())
                    why, lasts = await self._try(request)
                    if not why:
                        return
                    if lasts:
                        break
        except TimeoutError:
            pass
        log.warning("callback failed", host=httpx.URL(request.url).host, reason=why)
        raise errors.BaetylError("ErrThirdServer", f"Third server error. (the callback failed: {why})")

    async def _try(self, request: CallbackRequest) -> tuple[str, bool]:
        """Make one try; return what went wrong, "" for nothing, and whether another try would be in vain."""
        try:
            async with self._http.stream(
                request.method, request.url, headers=dict(request.headers), content=request.body
            ) as answer:
                if answer.is_success:
                    return "", False
                return f"it was answered {answer.status_code}", answer.status_code < 500
        except FetchError as error:
            return error.public, True
        except httpx.TimeoutException:
            return "it took too long", False
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}", isinstance(error, httpx.InvalidURL)


async def read_callback(verbs: Verbs, namespace: str, name: str) -> Callback:
    """Return a callback; raises BaetylError where there is none."""
    try:
        stored = await verbs.get(Target(CALLBACK, namespace, name))
    except NotFound as error:
        raise errors.not_found("callback", name) from error
    return from_document(Callback, stored.document)
