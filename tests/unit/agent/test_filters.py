"""Filters that Envoy runs: in force once tried, and otherwise as they were before."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from skerry.agent.code_files import CodeFiles
from skerry.agent.filters import NATIVES_OFF, ON_TRIAL, FilterStage
from skerry.agent.idle import GRACE_SECONDS
from skerry.api.extensions_v1alpha2 import Artifact, EdgeFunction, EdgeFunctionRevision, EnvoyLoader
from skerry.api.function_template import EdgeFunctionRuntime
from skerry.api.model import OwnerReference, from_document
from skerry.gateway import ir
from skerry.gateway.filter_slots import FilterContent
from skerry.kit.errors import SkerryError
from skerry.testing.clock import FakeClock

if TYPE_CHECKING:
    from skerry.client.informer import Informer


def kept_as(name: str) -> str:
    """Return the digits of the digest that the code of a revision has here; its file is named after them."""
    return f"{name.encode().hex():0>64}"


@dataclass
class FakeTrials:
    """Says what `verdicts` says of a configuration; what it does not know is still on trial."""

    verdicts: dict[str, str] = field(default_factory=dict)
    asked: set[FilterContent] = field(default_factory=set)

    async def judge(self, contents: Collection[FilterContent], *, wait_seconds: float) -> None:
        assert wait_seconds > 0
        self.asked = set(contents)

    def verdict(self, content: FilterContent) -> str | None:
        return self.verdicts.get(content.route)


class Revisions(dict[str, EdgeFunctionRevision]):
    """A cache of revisions."""


@dataclass
class World:
    stage: FilterStage
    trials: FakeTrials
    revisions: Revisions
    clock: FakeClock
    directory: Path
    missing: set[str]

    def revision(self, name: str, loader: EnvoyLoader = "DynamicModule", owner: str = "u-1", **code: Any) -> None:
        source = (
            {"goPluginSource": {"url": "file:///a.so"}}
            if loader != "ProxyWasm"
            else {"wasmSource": {"url": "file:///a"}}
        )
        spec = {"mode": "filter", "code": {**source, **code}, "env": [{"name": "A", "value": "1"}]}
        made = from_document(EdgeFunctionRevision, {"metadata": {"name": name}, "spec": spec})
        made.metadata.owner_references = [OwnerReference(api_version="v", kind="EdgeFunction", name="f", uid=owner)]
        made.status.artifact = Artifact(digest=f"sha256:{kept_as(name)}", size_bytes=1, loader=loader)
        self.revisions[name] = made

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.directory.iterdir()}

    async def turn(self, live: str, dynamic: str | None = None, serving: str | None = None) -> Any:
        """Stage the function, and return what its filter is, None where there is none."""
        spec = {"template": {"mode": "filter", "code": {}}, "dynamicPluginConfig": dynamic}
        function = from_document(EdgeFunction, {"metadata": {"name": "f", "uid": "u-1"}, "spec": spec})
        function.status.live_revision, function.status.serving_revision = live, serving
        await self.stage.stage([function], wait_seconds=1)
        in_force = [r for r in self.revisions.values() if self.stage.is_in_force(r, function)]
        assert len(in_force) <= 1
        function.status.live_revision = in_force[0].name if in_force else None
        (found,) = self.stage.rule_filters([function]) or (None,)
        if found is None:
            return None
        (content,) = (plugin.filter for plugin in found.plugins if plugin.name == found.use.filter)
        config = found.use.config
        assert not isinstance(config, ir.EngineRoute)
        return in_force[0].name, config and config.configuration, content


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "filters").mkdir()
    missing: set[str] = set()

    class Artifacts:
        async def fetch(self, digest: str) -> Path:
            if digest in missing:
                raise SkerryError("it is not here")
            path = tmp_path / digest
            path.write_text(digest)
            return path

    trials, revisions, clock = FakeTrials({"": ""}), Revisions(), FakeClock()
    with ThreadPoolExecutor(1) as executor:
        files = CodeFiles(tmp_path / "filters", Artifacts(), clock, executor)
        cache = cast("Informer[EdgeFunctionRevision]", revisions)
        stage = FilterStage(files, cache, trials, natives=True)
        yield World(stage, trials, revisions, clock, tmp_path / "filters", missing)


async def test_a_tried_filter_is_in_force_with_its_code_at_hand(world: World) -> None:
    world.revision("f-1", metadata={"name": "named"})
    name, route, content = await world.turn("f-1")
    assert (name, route, content.name) == ("f-1", None, "named")
    assert content.code == str(world.directory / f"{kept_as('f-1')}.so")
    assert world.files() == {f"{kept_as('f-1')}.so": f"sha256:{kept_as('f-1')}"}
    assert world.stage.reports == {"f": ""}


async def test_a_proxy_wasm_module_is_given_environment_and_configuration(world: World) -> None:
    world.revision("f-1", "ProxyWasm", metadata={"name": "root"})
    world.trials.verdicts[""] = ""
    _, _, content = await world.turn("f-1", '{"a": 1}')
    assert content == ir.Wasm(
        str(world.directory / f"{kept_as('f-1')}.wasm"),
        root_id="root",
        configuration='{"a":1}',
        environment=(("A", "1"),),
    )


async def test_a_proxy_wasm_module_fails_as_its_function_does(world: World) -> None:
    world.revision("f-1", "ProxyWasm")
    assert (await world.turn("f-1"))[2].on_trap == "deny"
    world.revision("f-2", "ProxyWasm")
    world.revisions["f-2"].spec.runtime = EdgeFunctionRuntime(failure_mode="open")
    assert (await world.turn("f-2"))[2].on_trap == "allow"


async def test_what_is_on_trial_or_refused_leaves_what_was_there_before(world: World) -> None:
    world.revision("f-1")
    assert await world.turn("f-1", "a: 1") is None
    assert world.stage.reports == {"f": ON_TRIAL}
    world.trials.verdicts['{"a":1}'] = ""
    assert (await world.turn("f-1", "a: 1"))[1] == '{"a":1}'
    assert (await world.turn("f-1", "a: 2"))[1] == '{"a":1}'
    world.trials.verdicts['{"a":2}'] = "a must be 1"
    assert (await world.turn("f-1", "a: 2"))[1] == '{"a":1}'
    assert world.stage.reports == {"f": "a must be 1"}


async def test_code_that_can_not_be_brought_leaves_the_serving_revision(world: World) -> None:
    world.revision("f-1")
    world.revision("f-2")
    world.missing.add(f"sha256:{kept_as('f-2')}")
    assert (await world.turn("f-2", serving="f-1"))[0] == "f-1"
    assert world.stage.reports == {"f": "it is not here"}
    world.missing.clear()
    assert (await world.turn("f-2", serving="f-1"))[0] == "f-2"


async def test_a_revision_of_another_function_is_never_run(world: World) -> None:
    world.revision("g-1", owner="u-2")
    assert await world.turn("g-1") is None
    assert world.stage.reports == {}


async def test_where_natives_are_off_none_is_brought_and_wasm_is(world: World) -> None:
    world.stage._natives = False
    world.revision("f-1")
    assert await world.turn("f-1") is None
    assert world.stage.reports == {"f": NATIVES_OFF}
    assert world.files() == {}
    world.revision("f-2", "ProxyWasm")
    assert await world.turn("f-2") is not None


async def test_the_code_before_stays_until_it_has_no_place_and_some_time_after(world: World) -> None:
    for number in (1, 2, 3):
        world.revision(f"f-{number}")
        await world.turn(f"f-{number}")
    await world.stage.remove_idle()
    world.clock.advance(GRACE_SECONDS)
    await world.stage.remove_idle()
    assert set(world.files()) == {f"{kept_as('f-2')}.so", f"{kept_as('f-3')}.so"}
