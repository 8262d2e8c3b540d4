from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skerry.agent.code_files import CodeFiles
from skerry.agent.idle import GRACE_SECONDS
from skerry.agent.plugins import PluginStage
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginCode, code_source
from skerry.api.model import Condition, from_document
from skerry.gateway.plugins import CODE_UNAVAILABLE
from skerry.gateway.resources import HeldPlugin
from skerry.kit.errors import SkerryError
from skerry.kit.immutable_map import ImmutableMap
from skerry.testing.clock import FakeClock

NOW = "2026-01-01T00:00:00Z"
ONE, TWO = "1" * 64, "2" * 64


@dataclass
class FakeArtifacts:
    directory: Path
    fetched: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    async def fetch(self, digest: str) -> Path:
        self.fetched.append(digest)
        if digest in self.missing:
            raise SkerryError("it is not here")
        path = self.directory / digest
        path.write_text(digest)
        return path


@dataclass
class World:
    stage: PluginStage
    artifacts: FakeArtifacts
    clock: FakeClock
    directory: Path

    async def held(self, plugins: list[WasmPlugin]) -> list[HeldPlugin]:
        """Stage plugins; return them in the same order."""
        by_key = {(each.namespace, each.name): each for each in plugins}
        found = await self.stage.stage(ImmutableMap(by_key))
        return [found[key] for key in by_key]

    def files(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    directory, artifacts, clock = tmp_path / "plugins", FakeArtifacts(tmp_path), FakeClock()
    directory.mkdir()
    with ThreadPoolExecutor(1) as executor:
        yield World(PluginStage(CodeFiles(directory, artifacts, clock, executor)), artifacts, clock, directory)


def plugin(url: str = "file:///one.wasm", digest: str = "", fetched: str = "Unknown", **spec: Any) -> WasmPlugin:
    """Write a plugin; with a digest, its code is that of its present URL."""
    metadata = {"name": "p", "namespace": "default", "uid": "u-1"}
    obj = from_document(WasmPlugin, {"metadata": metadata, "spec": {"url": url, **spec}})
    status: Any = fetched
    condition = Condition(type="Fetched", status=status, reason="Why", message="404", last_transition_time=NOW)
    obj.status.conditions = [condition]
    if digest:
        obj.status.code = WasmPluginCode(
            digest=f"sha256:{digest}",
            size_bytes=1,
            url=url,
            source=code_source(obj),
            pulled_for="p",
            resolved_at=NOW,
        )
    return obj


def moved(to: str, before: WasmPlugin, fetched: str = "True", **spec: Any) -> WasmPlugin:
    """Write the plugin with another URL, whose code the controller has not brought yet."""
    obj = plugin(to, fetched=fetched, **spec)
    obj.status.code = before.status.code
    return obj


def content(held: HeldPlugin) -> str:
    assert held.code
    return Path(held.code).read_text()


async def test_code_lies_in_a_file_named_by_its_digest(world: World) -> None:
    [held] = await world.held([plugin(digest=ONE)])
    assert held.code == str(world.directory / f"{ONE}.wasm")
    assert content(held) == f"sha256:{ONE}"
    assert (held.waiting, held.problem) == (False, "")


async def test_code_is_brought_once(world: World) -> None:
    for number in range(3):
        await world.held([plugin(digest=ONE, pluginConfig={"n": number})])
    assert world.artifacts.fetched == [f"sha256:{ONE}"]


async def test_a_new_plugin_waits_for_its_code(world: World) -> None:
    [held] = await world.held([plugin()])
    assert (held.code, held.waiting, held.problem) == (None, True, "")


async def test_code_that_could_not_be_fetched_is_told(world: World) -> None:
    [held] = await world.held([plugin(fetched="False")])
    assert (held.code, held.waiting, held.problem) == (None, False, "404")


async def test_while_new_code_is_on_its_way_the_plugin_stays_as_it_was_whole(world: World) -> None:
    old = plugin(digest=ONE, pluginConfig={"for": "one"})
    await world.held([old])
    new = moved("file:///two.wasm", old, pluginConfig={"for": "two"})
    for _ in range(2):
        [held] = await world.held([new])
        assert held.plugin is old
        assert held.waiting
    [held] = await world.held([plugin("file:///two.wasm", TWO, pluginConfig={"for": "two"})])
    assert held.plugin.spec.plugin_config == {"for": "two"}
    assert (Path(held.code or "").name, held.waiting) == (f"{TWO}.wasm", False)


async def test_new_code_that_cannot_be_had_ends_the_old(world: World) -> None:
    old = plugin(digest=ONE)
    await world.held([old])
    [held] = await world.held([moved("file:///two.wasm", old, fetched="False")])
    assert (held.code, held.problem) == (None, "404")
    [held] = await world.held([moved("file:///three.wasm", old)])
    assert held.code is None, "what was stood in for does not come back"


async def test_after_a_start_in_the_middle_of_a_change_the_plugin_is_not_left_out(world: World) -> None:
    [held] = await world.held([moved("file:///two.wasm", plugin(digest=ONE))])
    assert (held.code, held.waiting) == (None, False)
    assert "on its way" in held.problem


async def test_a_plugin_that_was_stood_in_for_is_not_left_out_while_its_code_is_looked_for_again(world: World) -> None:
    failed = plugin(fetched="Unknown")
    stood_in = Condition(type="Programmed", status="False", reason=CODE_UNAVAILABLE, last_transition_time=NOW)
    failed.status.conditions = [*(failed.status.conditions or ()), stood_in]
    [held] = await world.held([failed])
    assert (held.waiting, "on its way" in held.problem) == (False, True)


async def test_code_that_cannot_be_brought_here_is_a_problem_and_is_tried_again(world: World) -> None:
    world.artifacts.missing.add(f"sha256:{ONE}")
    obj = plugin(digest=ONE)
    [held] = await world.held([obj])
    assert "it is not here" in held.problem
    world.artifacts.missing.clear()
    [held] = await world.held([obj])
    assert held.code


async def test_another_plugin_of_the_same_name_inherits_nothing(world: World) -> None:
    await world.held([plugin(digest=ONE)])
    other = plugin()
    other.metadata.uid = "u-2"
    [held] = await world.held([other])
    assert held.code is None


async def test_more_plugins_than_a_node_can_run_are_stood_in_for_the_youngest_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.agent.plugins.PLUGINS_MAX", 1)
    young, old = plugin(digest=ONE), plugin("file:///two.wasm", TWO)
    young.metadata.uid, old.metadata.uid = "u-1", "u-2"
    young.metadata.creation_timestamp, old.metadata.creation_timestamp = "2026-02-01T00:00:00Z", NOW
    young.metadata.name = "another"
    one, other = await world.held([young, old])
    assert (other.plugin, bool(other.code)) == (old, True)
    assert (one.plugin, one.problem) == (young, "a node runs at most 1 plugins, and there are 2")
    [last] = await world.held([young])
    assert last.code


async def test_files_that_no_plugin_uses_are_removed_after_a_while(world: World) -> None:
    await world.held([plugin(digest=ONE)])
    await world.held([plugin("file:///two.wasm", TWO)])
    await world.stage.remove_idle({f"/anywhere/{ONE}.wasm"})
    world.clock.advance(GRACE_SECONDS)
    await world.stage.remove_idle(())
    world.clock.advance(GRACE_SECONDS - 1)
    await world.stage.remove_idle(())
    assert world.files() == {f"{ONE}.wasm", f"{TWO}.wasm"}
    world.clock.advance(1)
    await world.stage.remove_idle(())
    assert world.files() == {f"{TWO}.wasm"}
    [held] = await world.held([plugin(digest=ONE)])
    assert content(held) == f"sha256:{ONE}", "it is brought again"


async def test_a_file_left_half_written_by_a_crash_is_replaced(world: World) -> None:
    (world.directory / f"{ONE}.incoming").write_text("half")
    [held] = await world.held([plugin(digest=ONE)])
    assert content(held) == f"sha256:{ONE}"
