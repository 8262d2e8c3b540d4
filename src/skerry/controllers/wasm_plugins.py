"""From a WasmPlugin's source to its code: fetch, look again, try again, and say how it went.

Owns `status.code` of WasmPlugins, and when code is fetched. Does not own how (`artifacts.fetching`), what the
conditions say (`plugin_conditions`), nor where plugins run (the agent, which writes the rest of the status).

Invariant: `status.code` names code that is kept, and that was fetched for the source of which it tells. What can't be
fetched for a new source leaves the old code there under its old source, which nobody runs; what can't be looked for
again leaves the code in use.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from skerry.api.code_urls import OciReference, parse_code_url
from skerry.api.core_v1 import Secret
from skerry.api.errors import NotFound
from skerry.api.istio_extensions_v1alpha1 import (
    WasmPlugin,
    WasmPluginCode,
    code_source,
    pull_interval_seconds,
    pull_trigger,
    pulls_always,
)
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import Fetched
from skerry.client.client import Client
from skerry.client.events import EventRecorder
from skerry.client.informer import Informer, Key
from skerry.controllers.plugin_conditions import PluginConditions
from skerry.controllers.pull_secrets import docker_config_in
from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, resynced

log = get_logger(__name__)

#: Plugins worked on at once. High, because a turn is cheap but for its fetch, and fetches have bounds of their own.
CONCURRENCY = 1024
#: Every plugin is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0
#: The first wait after a failed fetch, and the longest, as a kubelet has it.
RETRY_SECONDS_FIRST = 2.0
RETRY_SECONDS_MAX = 300.0


class PluginCode(Protocol):
    """What the controller needs of `artifacts`: a source in, kept code out."""

    async def fetch(self, source: Source) -> Fetched:
        """Bring code and keep it; raises FetchError."""
        ...

    async def is_kept(self, digest: Digest) -> bool:
        """Tell whether code is at hand."""
        ...

    async def is_whole(self, digest: Digest) -> bool:
        """Tell whether code is at hand and undamaged: a disk can lose what a status still names."""
        ...

    def remember(self, url: str, digest: Digest) -> None:
        """Note what an earlier fetch brought."""
        ...


@dataclass
class _Attempts:
    """The failed fetches of one plugin, for one state of what they depend on."""

    state: tuple[str, ...]
    count: int = 0
    next_at_seconds: float = 0.0
    backoff: Backoff = field(
        default_factory=lambda: Backoff(first_seconds=RETRY_SECONDS_FIRST, max_seconds=RETRY_SECONDS_MAX)
    )


class WasmPluginController:
    """Keeps the code of WasmPlugins at hand; `running()` is its life.

    Args:
        client: where statuses and events are written.
        plugins: the cache of WasmPlugins.
        secrets: the cache of Secrets, for credentials.
        code: fetches and keeps.
        clock: stamps conditions, and tells when to look again.
    """

    def __init__(
        self,
        client: Client,
        plugins: Informer[WasmPlugin],
        secrets: Informer[Secret],
        code: PluginCode,
        clock: Clock,
    ) -> None:
        self._client = client
        self._plugins = plugins
        self._secrets = secrets
        self._code = code
        self._clock = clock
        self._conditions = PluginConditions(clock)
        self._events = EventRecorder(client, "wasm-plugin-controller", clock)
        self._workers = KeyedWorkers("wasm-plugins", self.reconcile, concurrency=CONCURRENCY)
        self._attempts: dict[Key, _Attempts] = {}
        self._damaged: frozenset[str] = frozenset()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        self._plugins.on_change(self._workers.add)
        self._secrets.on_change(self._wake_users)
        async with resynced("wasm-plugins", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    def _wake_users(self, secret: Key) -> None:
        for plugin in self._plugins:
            if (plugin.namespace, _pull_secret_name(plugin)) == secret:
                self._workers.add((plugin.namespace, plugin.name))

    async def _resync(self) -> None:
        await self._plugins.synced()
        await self._secrets.synced()
        codes = {plugin.status.code.digest: plugin.status.code for plugin in self._plugins if plugin.status.code}
        for code in codes.values():
            self._code.remember(code.url, Digest.parse(code.digest))
        self._damaged = frozenset([digest for digest in codes if not await self._code.is_whole(Digest.parse(digest))])
        for plugin in self._plugins:
            self._workers.add((plugin.namespace, plugin.name))

    async def reconcile(self, key: Key) -> None:
        """Bring one plugin's code to what its spec asks for, and say so in its status."""
        await self._plugins.synced()
        await self._secrets.synced()
        plugin = self._plugins.get(key[1], key[0])
        if plugin is None or plugin.metadata.deletion_timestamp:
            self._attempts.pop(key, None)
            return
        try:
            await self._reconcile(key, plugin)
        except NotFound:
            log.info("object was deleted while it was worked on", plugin=plugin.name, namespace=plugin.namespace)

    async def _reconcile(self, key: Key, plugin: WasmPlugin) -> None:
        if not await self._is_due(plugin):
            self._attempts.pop(key, None)
            plugin = await self._write(plugin, self._conditions.tell_fetched)
            self._wake_for_interval(key, plugin)
            return
        attempts = self._attempts_of(key, plugin)
        wait_seconds = attempts.next_at_seconds - self._clock.monotonic_seconds()
        if wait_seconds > 0:
            self._workers.add_later(key, wait_seconds)
            return
        try:
            code = await self._adopted(plugin)
            if code is None:
                if not attempts.count:  # later, what is said of the last failure stays true until the next result
                    plugin = await self._write(plugin, self._conditions.tell_fetching)
                code = await self._fetched(plugin)
        except FetchError as error:
            await self._note_failure(key, plugin, error)
            return
        self._damaged -= {code.digest}
        await self._write(plugin, partial(self._take, code))  # which brings another turn
        await self._events.record(plugin, "Normal", "Fetched", f"{code.url} is kept as {code.digest}")

    async def _is_due(self, plugin: WasmPlugin) -> bool:
        """Tell whether code must be fetched, or looked for again."""
        code = plugin.status.code
        if code is None or code.source != code_source(plugin) or not await self._is_at_hand(code):
            return True
        if not pulls_always(plugin.spec):
            return False
        return code.pulled_for != pull_trigger(plugin) or self._seconds_to_pull(plugin, code) == 0

    async def _is_at_hand(self, code: WasmPluginCode) -> bool:
        return code.digest not in self._damaged and await self._code.is_kept(Digest.parse(code.digest))

    def _seconds_to_pull(self, plugin: WasmPlugin, code: WasmPluginCode) -> float | None:
        """Return how long until code is looked for again although nothing changed; None for never."""
        interval = pull_interval_seconds(plugin)
        if interval is None:
            return None
        age = (self._clock.now() - from_rfc3339(code.resolved_at)).total_seconds()
        return max(interval - age, 0.0)

    async def _adopted(self, plugin: WasmPlugin) -> WasmPluginCode | None:
        """Return the code that another plugin of the namespace has from the very same source, unless it may be old.

        Of the same namespace and with the same secret, so that nobody gets by a name what they could not pull.
        """
        if pulls_always(plugin.spec):
            return None
        source = code_source(plugin)
        for other in self._plugins:
            code = other.status.code if other.namespace == plugin.namespace else None
            if code is not None and code.source == source and await self._is_at_hand(code):
                return code
        return None

    async def _fetched(self, plugin: WasmPlugin) -> WasmPluginCode:
        """Fetch a plugin's code; raises FetchError."""
        fetched = await self._code.fetch(
            Source(
                parse_code_url(plugin.spec.url),
                sha256=plugin.spec.sha256,
                docker_config=self._docker_config(plugin),
                verification_key=plugin.spec.verification_key or "",
            )
        )
        return WasmPluginCode(
            digest=str(fetched.digest),
            size_bytes=fetched.size_bytes,
            url=fetched.url,
            source=code_source(plugin),
            pulled_for=pull_trigger(plugin),
            resolved_at=rfc3339(self._clock.now()),
        )

    def _docker_config(self, plugin: WasmPlugin) -> bytes | None:
        """Return the credentials that a plugin names; None where it names none. Raises FetchError."""
        name = _pull_secret_name(plugin)
        if not name or not isinstance(parse_code_url(plugin.spec.url), OciReference):
            return None
        secret = self._secrets.get(name, plugin.namespace)
        return docker_config_in(secret, f"spec.imagePullSecret: Secret {plugin.namespace}/{name}")

    def _attempts_of(self, key: Key, plugin: WasmPlugin) -> _Attempts:
        """Return the failures so far; none where what they depended on has changed."""
        secret = self._secrets.get(_pull_secret_name(plugin), plugin.namespace)
        version = (secret.metadata.resource_version or "") if secret else ""
        state = (plugin.uid, code_source(plugin), pull_trigger(plugin), version)
        attempts = self._attempts.get(key)
        if attempts is None or attempts.state != state:
            attempts = self._attempts[key] = _Attempts(state)
        return attempts

    async def _note_failure(self, key: Key, plugin: WasmPlugin, error: FetchError) -> None:
        attempts = self._attempts_of(key, plugin)
        attempts.count += 1
        wait_seconds = attempts.backoff.next_seconds()
        attempts.next_at_seconds = self._clock.monotonic_seconds() + wait_seconds
        log.warning(
            "code of a plugin can't be fetched, will try again",
            plugin=plugin.name,
            namespace=plugin.namespace,
            reason=error.reason,
            error=error.public,
            wait_seconds=round(wait_seconds, 1),
        )
        self._workers.add_later(key, wait_seconds)
        is_kept = plugin.status.code is not None and await self._is_at_hand(plugin.status.code)
        await self._events.record(plugin, "Warning", error.reason, error.public)
        await self._write(plugin, partial(self._conditions.tell_failed, error=error, is_kept=is_kept))

    def _wake_for_interval(self, key: Key, plugin: WasmPlugin) -> None:
        code = plugin.status.code
        seconds = self._seconds_to_pull(plugin, code) if code else None
        if seconds is not None:
            self._workers.add_later(key, seconds)

    async def _write(self, plugin: WasmPlugin, tell: Callable[[WasmPlugin], None]) -> WasmPlugin:
        """Write a plugin's status, unless its source has changed meanwhile: then another turn follows."""
        source = code_source(plugin)

        def change(current: WasmPlugin) -> None:
            if code_source(current) == source:
                tell(current)

        return await self._client.change_status(plugin, change)

    def _take(self, code: WasmPluginCode, plugin: WasmPlugin) -> None:
        plugin.status.code = code
        self._conditions.tell_fetched(plugin)


def _pull_secret_name(plugin: WasmPlugin) -> str:
    """Return the name of a plugin's secret, or ""; of `namespace/name`, the name: it is always the plugin's own."""
    return (plugin.spec.image_pull_secret or "").rpartition("/")[2]
