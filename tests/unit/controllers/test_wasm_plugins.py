"""When the code of plugins is fetched, what their status says of it, and what stays in use when a fetch fails."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from skerry.api.core_v1 import Secret
from skerry.api.istio_extensions_v1alpha1 import (
    PULL_INTERVAL_ANNOTATION,
    WasmPlugin,
    WasmPluginSpec,
    code_source,
)
from skerry.api.model import ObjectMeta, condition_of
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import FetchError, SignatureError
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import Fetched
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.controllers.wasm_plugins import RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX, WasmPluginController
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock

URL = "registry.example/app"
TAGGED = f"{URL}:v1"
PULL_SECRET = "kubernetes.io/dockerconfigjson"


def _version(plugin: WasmPlugin | None) -> str | None:
    return plugin.metadata.resource_version if plugin else None


@dataclass
class FakeCode:
    """Fetches what `content` says is at a URL; `failures` come first, one a fetch."""

    content: dict[str, bytes] = field(default_factory=dict)
    failures: list[FetchError] = field(default_factory=list)
    fetched: list[Source] = field(default_factory=list)
    lost: set[Digest] = field(default_factory=set)
    remembered: dict[str, Digest] = field(default_factory=dict)
    on_fetch: Callable[[], None] = lambda: None

    async def fetch(self, source: Source) -> Fetched:
        self.fetched.append(source)
        self.on_fetch()
        if self.failures:
            raise self.failures.pop(0)
        digest = Digest.of(self.content.get(str(source.url), b"module"))
        self.lost.discard(digest)
        return Fetched(digest, 6, f"{source.url}@sha256:{digest.hexadecimal}")

    async def is_kept(self, digest: Digest) -> bool:
        return digest not in self.lost

    async def is_whole(self, digest: Digest) -> bool:
        return digest not in self.lost

    def remember(self, url: str, digest: Digest) -> None:
        self.remembered[url] = digest


@dataclass
class World:
    """A control plane with plugins in it, and the controller's turns in the test's own hand."""

    client: Client
    plugins: Informer[WasmPlugin]
    secrets: Informer[Secret]
    code: FakeCode
    clock: FakeClock
    controller: WasmPluginController
    changed: asyncio.Event

    async def apply(self, name: str = "a", annotations: dict[str, str] | None = None, **spec: Any) -> WasmPlugin:
        wanted = WasmPluginSpec(**{"url": TAGGED, **spec})
        stored = await self.client.find(WasmPlugin, name, namespace="default")
        if stored is None:
            metadata = ObjectMeta(name=name, namespace="default", annotations=annotations)
            return await self.client.create(WasmPlugin(metadata=metadata, spec=wanted))

        def change(plugin: WasmPlugin) -> None:
            plugin.spec, plugin.metadata.annotations = wanted, annotations

        return await self.client.change(stored, change)

    async def turn(self, name: str = "a") -> WasmPlugin:
        """Let the controller have a turn with what is stored, and return what is stored then."""
        stored = await self.client.get(WasmPlugin, name, namespace="default")
        await self.until(lambda: _version(self.plugins.get(name, "default")) == _version(stored))
        await self.controller.reconcile(("default", name))
        return await self.client.get(WasmPlugin, name, namespace="default")

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def world(client: Client) -> AsyncIterator[World]:
    async with opened(client, FakeCode()) as one:
        await one.controller._workers.stop()  # no turn comes by itself, however long a test takes
        yield one


@asynccontextmanager
async def opened(client: Client, code: FakeCode) -> AsyncIterator[World]:
    plugins, secrets, clock = Informer(client, WasmPlugin), Informer(client, Secret), FakeClock()
    controller = WasmPluginController(client, plugins, secrets, code, clock)
    one = World(client, plugins, secrets, code, clock, controller, asyncio.Event())
    for informer in (plugins, secrets):
        informer.on_change(lambda _: one.changed.set())
    async with background(("plugins", plugins.run), ("secrets", secrets.run)):
        yield one


def said(plugin: WasmPlugin, kind: str) -> tuple[str, str]:
    condition = condition_of(plugin.status.conditions, kind)
    assert condition is not None
    return condition.status, condition.reason


async def test_a_plugin_gets_its_code_and_says_so(world: World) -> None:
    await world.apply()
    plugin = await world.turn()
    assert plugin.status.code is not None
    assert plugin.status.code.digest == str(Digest.of(b"module"))
    assert plugin.status.code.source == code_source(plugin)
    assert said(plugin, "Fetched") == ("True", "Fetched")
    assert said(plugin, "Verified") == ("Unknown", "NotRequested")


async def test_code_that_is_there_is_not_fetched_again(world: World) -> None:
    await world.apply()
    await world.turn()
    await world.apply(priority=5, plugin_config={"a": 1})
    plugin = await world.turn()
    await world.turn()
    assert len(world.code.fetched) == 1
    condition = condition_of(plugin.status.conditions, "Fetched")
    assert condition is not None
    assert condition.observed_generation == plugin.metadata.generation


async def test_a_new_source_is_fetched_and_replaces_the_old_code(world: World) -> None:
    world.code.content = {f"oci://{URL}:v2": b"second"}
    await world.apply()
    await world.turn()
    await world.apply(url=f"{URL}:v2")
    plugin = await world.turn()
    assert plugin.status.code is not None
    assert plugin.status.code.digest == str(Digest.of(b"second"))


async def test_a_source_that_can_not_be_had_is_told_and_leaves_the_code_of_the_old_one_where_it_is(
    world: World,
) -> None:
    await world.apply()
    before = await world.turn()
    world.code.failures = [FetchError("NotFound", "the registry has no such image")]
    await world.apply(url=f"{URL}:gone")
    plugin = await world.turn()
    assert said(plugin, "Fetched") == ("False", "NotFound")
    assert plugin.status.code == before.status.code
    assert plugin.status.code is not None
    assert plugin.status.code.source != code_source(plugin)


async def test_going_back_to_the_source_before_needs_no_fetch(world: World) -> None:
    await world.apply()
    await world.turn()
    world.code.failures = [FetchError("NotFound", "none")]
    await world.apply(url=f"{URL}:gone")
    await world.turn()
    await world.apply()
    plugin = await world.turn()
    assert said(plugin, "Fetched") == ("True", "Fetched")
    assert len(world.code.fetched) == 2


async def test_a_failed_fetch_is_tried_again_when_its_wait_is_over_and_not_before(world: World) -> None:
    world.code.failures = [FetchError("DownloadFailed", "no"), FetchError("DownloadFailed", "no")]
    await world.apply()
    for fetches in (1, 2):
        await world.turn()
        await world.turn()
        assert len(world.code.fetched) == fetches
        world.clock.advance(RETRY_SECONDS_FIRST * fetches)
    plugin = await world.turn()
    assert said(plugin, "Fetched") == ("True", "Fetched")
    assert len(world.code.fetched) == 3


async def test_a_plugin_tells_why_its_code_is_not_there_while_it_is_tried_again(world: World) -> None:
    world.code.failures = [FetchError("NotFound", "no such file") for _ in range(3)]
    await world.apply()
    for _ in range(3):
        plugin = await world.turn()
        assert said(plugin, "Fetched") == ("False", "NotFound")
        world.clock.advance(RETRY_SECONDS_MAX)
    assert len(world.code.fetched) == 3
    world.code.on_fetch = lambda: seen.append(world.plugins.get("a", "default"))
    seen: list[WasmPlugin | None] = []
    assert said(await world.turn(), "Fetched") == ("True", "Fetched")
    [during] = seen
    assert during is not None
    assert said(during, "Fetched") == ("False", "NotFound")


async def test_waits_between_tries_grow_to_a_bound(world: World) -> None:
    world.code.failures = [FetchError("DownloadFailed", "no") for _ in range(50)]
    await world.apply()
    for fetches in range(1, 21):
        await world.turn()
        assert len(world.code.fetched) == fetches
        world.clock.advance(RETRY_SECONDS_MAX)
    await world.turn()
    world.clock.advance(RETRY_SECONDS_MAX / 2 - 1)
    await world.turn()
    assert len(world.code.fetched) == 21


async def test_a_change_of_the_plugin_ends_the_wait(world: World) -> None:
    world.code.failures = [FetchError("NotFound", "none")]
    await world.apply()
    await world.turn()
    await world.apply(annotations={"try": "again"})
    assert said(await world.turn(), "Fetched") == ("True", "Fetched")


async def test_always_looks_again_when_spec_or_metadata_change_and_only_then(world: World) -> None:
    always: dict[str, Any] = {"image_pull_policy": "Always"}
    await world.apply(**always)
    await world.turn()
    await world.turn()
    assert len(world.code.fetched) == 1
    await world.apply(**always, priority=1)
    await world.turn()
    assert len(world.code.fetched) == 2
    await world.apply(annotations={"touched": "yes"}, **always, priority=1)
    await world.turn()
    await world.turn()
    assert len(world.code.fetched) == 3


async def test_always_looks_again_when_its_interval_is_over(world: World) -> None:
    world.code.content = {f"oci://{URL}:latest": b"old"}
    await world.apply(url=URL, annotations={PULL_INTERVAL_ANNOTATION: "1m"})
    await world.turn()
    world.code.content = {f"oci://{URL}:latest": b"new"}
    world.clock.advance(59)
    await world.turn()
    assert len(world.code.fetched) == 1
    world.clock.advance(1)
    plugin = await world.turn()
    assert plugin.status.code is not None
    assert plugin.status.code.digest == str(Digest.of(b"new"))


@pytest.mark.parametrize("failure", [FetchError("TimedOut", "it hangs"), SignatureError("it is not signed")])
async def test_code_that_can_not_be_looked_for_again_stays_in_use(failure: FetchError, world: World) -> None:
    always: dict[str, Any] = {"image_pull_policy": "Always", "verification_key": "key"}
    await world.apply(**always)
    before = await world.turn()
    world.code.failures = [failure]
    await world.apply(**always, priority=1)
    plugin = await world.turn()
    assert plugin.status.code == before.status.code
    assert said(plugin, "Fetched") == ("True", "PullFailed")
    assert said(plugin, "Verified") == ("True", "SignatureVerified")
    world.clock.advance(RETRY_SECONDS_FIRST)
    assert said(await world.turn(), "Fetched") == ("True", "Fetched")


async def test_code_that_was_lost_is_fetched_again(world: World) -> None:
    await world.apply()
    await world.turn()
    world.code.lost = {Digest.of(b"module")}
    await world.turn()
    assert len(world.code.fetched) == 2


async def test_code_that_is_not_signed_is_told_in_verified(world: World) -> None:
    world.code.failures = [SignatureError("the image has no signature")]
    await world.apply(verification_key="key")
    plugin = await world.turn()
    assert said(plugin, "Verified") == ("False", "SignatureInvalid")
    assert said(plugin, "Fetched") == ("False", "NotVerified")
    assert plugin.status.code is None
    assert world.code.fetched[0].verification_key == "key"


async def test_plugins_of_one_namespace_and_source_share_what_was_pulled(world: World) -> None:
    await world.apply("a")
    first = await world.turn("a")
    await world.apply("b")
    second = await world.turn("b")
    assert second.status.code == first.status.code
    await world.apply("c", image_pull_secret="of-another")
    await world.turn("c")
    await world.apply("d", url=URL)
    await world.turn("d")
    assert len(world.code.fetched) == 2
    assert said(await world.turn("c"), "Fetched") == ("False", "CredentialsInvalid")


async def put_secret(client: Client, kind: str = PULL_SECRET, **data: str) -> None:
    encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    await client.create(Secret(metadata=ObjectMeta(name="pull", namespace="default"), type=kind, data=encoded))


@pytest.mark.parametrize("name", ["pull", "other/pull"])
async def test_credentials_come_from_the_secret_of_the_plugins_own_namespace(name: str, world: World) -> None:
    await put_secret(world.client, _dockerconfigjson='{"auths": {}}')
    await world.until(lambda: world.secrets.get("pull", "default") is not None)
    await world.apply(image_pull_secret=name)
    await world.turn()
    assert world.code.fetched[0].docker_config == b'{"auths": {}}'


async def test_a_secret_that_is_missing_is_told_and_its_coming_ends_the_wait(world: World) -> None:
    await world.apply(image_pull_secret="pull")
    plugin = await world.turn()
    assert said(plugin, "Fetched") == ("False", "CredentialsInvalid")
    condition = condition_of(plugin.status.conditions, "Fetched")
    assert condition is not None
    assert "Secret default/pull does not exist" in condition.message
    assert world.code.fetched == []
    await put_secret(world.client, _dockerconfigjson="{}")
    await world.until(lambda: world.secrets.get("pull", "default") is not None)
    assert said(await world.turn(), "Fetched") == ("True", "Fetched")


async def test_a_secret_of_another_type_is_told(world: World) -> None:
    await put_secret(world.client, "Opaque", _dockerconfigjson="{}")
    await world.until(lambda: world.secrets.get("pull", "default") is not None)
    await world.apply(image_pull_secret="pull")
    plugin = await world.turn()
    condition = condition_of(plugin.status.conditions, "Fetched")
    assert condition is not None
    assert f"must be of type {PULL_SECRET}, not Opaque" in condition.message


async def test_a_secret_is_not_asked_for_where_the_source_is_no_registry(world: World) -> None:
    await world.apply(url="https://h.example/a.wasm", image_pull_secret="none")
    assert said(await world.turn(), "Fetched") == ("True", "Fetched")


async def test_a_plugin_that_changes_while_it_is_fetched_gets_the_code_of_its_new_source(world: World) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    inner = world.code.fetch

    async def slow(source: Source) -> Fetched:
        started.set()
        await go_on.wait()
        return await inner(source)

    world.code.fetch = slow  # type: ignore[method-assign]
    world.code.content = {f"oci://{URL}:v2": b"second"}
    await world.apply()
    async with asyncio.TaskGroup() as group:
        group.create_task(world.turn())
        await started.wait()
        await world.apply(url=f"{URL}:v2")
        go_on.set()
    assert (await world.client.get(WasmPlugin, "a", namespace="default")).status.code is None
    plugin = await world.turn()
    assert plugin.status.code is not None
    assert plugin.status.code.digest == str(Digest.of(b"second"))


async def test_running_the_controller_follows_plugins_and_secrets_and_remembers_what_it_finds(client: Client) -> None:
    code = FakeCode()
    async with opened(client, code) as world:
        await world.apply()
        fetched = await world.turn()
    code.remembered.clear()
    async with opened(client, code) as world, world.controller.running():
        await world.apply("b", image_pull_secret="pull")
        await world.until(lambda: fetched_reason(world, "b") == "CredentialsInvalid")
        await put_secret(client, _dockerconfigjson="{}")
        await world.until(lambda: fetched_reason(world, "b") == "Fetched")
    assert fetched.status.code is not None
    assert fetched.status.code.url in code.remembered


def fetched_reason(world: World, name: str) -> str:
    plugin = world.plugins.get(name, "default")
    condition = condition_of(plugin.status.conditions, "Fetched") if plugin else None
    return condition.reason if condition else ""
