"""How filters that Envoy runs are built: what is brought, what is tried, and what is left to others."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from skerry.api.core_v1 import Secret
from skerry.api.extensions_v1alpha2 import FUNCTION_LABEL, Artifact, EdgeFunctionRevision
from skerry.api.model import from_document
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.keep import ArtifactKeep
from skerry.controllers.builds import Built, SourceError
from skerry.controllers.envoy_code import TRIALS_AT_ONCE_MAX, EnvoyCodeBuilder, EnvoyCodeWays
from skerry.gateway import ir
from skerry.gateway.filter_slots import FilterContent
from skerry.testing.natives import elf_file
from skerry.testing.wasm import proxy_wasm_module

if TYPE_CHECKING:
    from skerry.client.informer import Informer

NATIVE = elf_file(
    "envoy_dynamic_module_on_program_init",
    "envoy_dynamic_module_on_http_filter_config_new",
    "envoy_dynamic_module_on_http_filter_config_destroy",
    "envoy_dynamic_module_on_http_filter_new",
    "envoy_dynamic_module_on_http_filter_destroy",
)
ELSEWHERE = Built(Artifact(digest="sha256:" + "e" * 64, size_bytes=1))


class Others:
    """Builds everything, in no time."""

    async def build(self, _: EdgeFunctionRevision) -> Built:
        return ELSEWHERE

    async def is_stored(self, _: Artifact) -> bool:
        return True


class Secrets(dict[tuple[str, str], Secret]):
    """A cache of Secrets, by name and namespace."""

    def get(self, name: str, namespace: str = "") -> Any:  # type: ignore[override]  # as an informer's
        return super().get((name, namespace))


@dataclass
class World:
    """A builder, and what it stands on.

    Attributes:
        directory: where code lies.
        verdict: what every trial says.
        gate: what trials wait for.
        tried: what was tried.
    """

    directory: Path
    fetcher: CodeFetcher
    keep: ArtifactKeep
    verdict: str = ""
    gate: asyncio.Event | None = None
    tried: list[FilterContent] = field(default_factory=list)
    secrets: Secrets = field(default_factory=Secrets)

    async def trial(self, content: FilterContent) -> str:
        self.tried.append(content)
        if self.gate:
            await self.gate.wait()
        return self.verdict

    def builder(self, *, natives: bool = True) -> EnvoyCodeBuilder:
        secrets = cast("Informer[Secret]", self.secrets)
        return EnvoyCodeBuilder(EnvoyCodeWays(self.fetcher, self.keep, secrets, self.trial, natives), Others())

    def file(self, content: bytes, name: str = "code") -> str:
        (self.directory / name).write_bytes(content)
        return f"file://{self.directory / name}"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = FetchSettings(attempts_max=1, connect_seconds_max=0.2, file_dirs=(tmp_path,))
    async with FolderKeep(tmp_path / "keep") as keep, CodeFetcher(keep, settings) as fetcher:
        yield World(tmp_path, fetcher, keep)


def revision(code: dict[str, Any], mode: str = "filter") -> EdgeFunctionRevision:
    metadata = {"name": "greet-4", "labels": {FUNCTION_LABEL: "greet"}}
    return from_document(EdgeFunctionRevision, {"metadata": metadata, "spec": {"mode": mode, "code": code}})


async def test_a_native_filter_is_kept_with_its_loader_and_tried_by_its_name_and_configuration(world: World) -> None:
    source = {"url": world.file(NATIVE), "pluginConfig": "b: 1\na: x"}
    built = await world.builder().build(revision({"goPluginSource": source}))
    assert built.artifact.loader == "DynamicModule"
    (content,) = world.tried
    assert isinstance(content.filter, ir.Native)
    assert (content.filter.name, content.filter.configuration) == ("greet", '{"a":"x","b":1}')
    assert content.filter.code == str(await world.keep.verify(Digest.parse(built.artifact.digest)))
    await world.builder().build(revision({"goPluginSource": source, "metadata": {"name": "other"}}))
    assert world.tried[-1].filter.name == "other"  # type: ignore[union-attr]  # it is a native


async def test_what_envoy_refuses_fails_for_good_in_its_words(world: World) -> None:
    world.verdict = "a symbol is missing"
    with pytest.raises(SourceError, match="Envoy refuses the code: a symbol is missing"):
        await world.builder().build(revision({"goPluginSource": {"url": world.file(NATIVE)}}))


async def test_what_is_no_shared_object_is_neither_tried_nor_fetched_again(world: World) -> None:
    with pytest.raises(SourceError, match="no shared object"):
        await world.builder().build(revision({"goPluginSource": {"url": world.file(b"text")}}))
    assert not world.tried


async def test_where_natives_are_off_none_is_fetched(world: World) -> None:
    with pytest.raises(SourceError, match="native_plugins turns it on"):
        await world.builder(natives=False).build(revision({"goPluginSource": {"url": "file:///absent"}}))


async def test_a_pin_that_does_not_fit_is_final(world: World) -> None:
    url = f"{world.file(NATIVE)}#sha256={'0' * 64}"
    with pytest.raises(SourceError, match="sha256"):
        await world.builder().build(revision({"goPluginSource": {"url": url}}))


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        (None, "Secret default/pull does not exist"),
        ({"type": "Opaque"}, "must be of type kubernetes.io/dockerconfigjson, not Opaque"),
        ({"type": "kubernetes.io/dockerconfigjson", "data": {}}, "has no .dockerconfigjson that can be read"),
        (
            {
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": base64.b64encode(b"a canary").decode()},
            },
            "the docker configuration",
        ),
    ],
)
async def test_what_is_wrong_with_a_secret_is_told_and_tried_again(
    world: World, secret: dict[str, Any] | None, told: str
) -> None:
    if secret is not None:
        document = {"metadata": {"name": "pull", "namespace": "default"}, **secret}
        world.secrets["pull", "default"] = from_document(Secret, document)
    reference = {"group": "", "name": "pull", "namespace": "default"}
    oci = {"repo": "127.0.0.1:1/greet", "credentialsRef": reference}
    with pytest.raises(FetchError, match=told) as error:
        await world.builder().build(revision({"goPluginSource": {"oci": oci}}))
    assert "canary" not in error.value.public


async def test_a_proxy_wasm_module_is_envoys_in_mode_filter_and_not_tried_without_its_configuration(
    world: World,
) -> None:
    code = {"wasmSource": {"url": world.file(proxy_wasm_module())}}
    built = await world.builder(natives=False).build(revision(code))
    assert built.artifact.loader == "ProxyWasm"
    assert not world.tried
    assert await world.builder().build(revision(code, mode="backend")) == ELSEWHERE


async def test_every_other_source_is_left_to_others(world: World) -> None:
    component = b"\0asm\x0d\0\x01\0"
    assert await world.builder().build(revision({"wasmSource": {"url": world.file(component)}})) == ELSEWHERE
    script = {"jsSource": {"entrypoint": "a.js", "assets": {"files": [{"path": "a.js", "content": "x"}]}}}
    assert await world.builder().build(revision(script)) == ELSEWHERE


async def test_no_more_trials_run_at_once_than_the_limit(world: World) -> None:
    world.gate = asyncio.Event()
    builder, source = world.builder(), {"url": world.file(NATIVE)}
    async with asyncio.TaskGroup() as group:
        for number in range(TRIALS_AT_ONCE_MAX + 2):
            code = {"goPluginSource": source, "metadata": {"name": f"n{number}"}}
            group.create_task(builder.build(revision(code)))
        async with asyncio.timeout(60):
            while len(world.tried) < TRIALS_AT_ONCE_MAX:  # noqa: ASYNC110 - another task's state
                await asyncio.sleep(0.01)
        assert len(world.tried) == TRIALS_AT_ONCE_MAX
        world.gate.set()
    assert len(world.tried) == TRIALS_AT_ONCE_MAX + 2
