import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from skerry.agent.functions import FunctionStage
from skerry.agent.idle import GRACE_SECONDS
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, Artifact, EdgeFunction, EdgeFunctionRevision
from skerry.api.function_template import RuntimeCapabilities
from skerry.api.function_traffic import TrafficTarget
from skerry.api.model import ObjectMeta, OwnerReference, from_document
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.engine.manifest import list_manifests, read_manifest
from skerry.kit.errors import SkerryError
from skerry.kit.tasks import background
from skerry.testing.clock import FakeClock
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.manifests import answering, edge_function

DIGEST = "sha256:" + "0" * 64


@dataclass
class FakeArtifacts:
    missing: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)

    async def fetch(self, digest: str) -> Path:
        self.fetched.append(digest)
        if digest in self.missing:
            raise SkerryError("it is not here")
        return Path("/artifacts") / digest


@dataclass
class World:
    client: Client
    stage: FunctionStage
    revisions: Informer[EdgeFunctionRevision]
    artifacts: FakeArtifacts
    clock: FakeClock
    directory: Path

    async def add_revision(
        self,
        name: str,
        *,
        limit: str = "5s",
        digest: str = DIGEST,
        owner_uid: str = "u-1",
        capabilities: RuntimeCapabilities | None = None,
    ) -> None:
        function = self.function()
        spec = function.spec.template.model_copy(deep=True)
        assert spec.runtime is not None
        spec.runtime.timeout = limit
        spec.runtime.capabilities = capabilities
        owner = OwnerReference(api_version=EDGE_FUNCTION.api_version, kind="EdgeFunction", name="f", uid=owner_uid)
        metadata = ObjectMeta(name=name, owner_references=[owner])
        stored = await self.client.create(EdgeFunctionRevision(metadata=metadata, spec=spec))
        artifact = Artifact(digest=digest, size_bytes=1)
        await self.client.change_status(stored, lambda r: setattr(r.status, "artifact", artifact))
        changed = asyncio.Event()
        self.revisions.on_change(lambda _: changed.set())
        async with asyncio.timeout(60):
            while (found := self.revisions.get(name)) is None or found.status.artifact is None:
                changed.clear()
                await changed.wait()

    def function(self, live: str | None = None, serving: str | None = None) -> EdgeFunction:
        document = json.loads(edge_function("f", answering("x"), env={"A": "1"}, timeout="60s"))
        function = from_document(EdgeFunction, document)
        function.metadata.uid = "u-1"
        function.status.live_revision = live
        function.status.serving_revision = serving
        return function


@asynccontextmanager
async def staging(directory: Path) -> AsyncIterator[World]:
    async with memory_control_plane() as client:
        revisions = Informer(client, EdgeFunctionRevision)
        artifacts, clock = FakeArtifacts(), FakeClock()
        with ThreadPoolExecutor(1) as executor:
            stage = FunctionStage(directory, revisions, artifacts, clock, executor)
            async with background(("revisions", revisions.run)):
                await revisions.synced()
                yield World(client, stage, revisions, artifacts, clock, directory)


async def test_a_staged_revision_has_its_manifest_and_its_own_settings(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("f-1", limit="5s")
        [served] = await world.stage.stage([world.function(live="f-1")])
        assert served.status.live_revision == "f-1"
        assert served.spec.template.timeout_seconds == 5, "the template may have moved on"
        manifest = read_manifest(tmp_path, "f-1")
        assert (manifest.function, manifest.env, manifest.timeout_seconds) == ("f", {"A": "1"}, 5)
        assert manifest.may_fetch
        assert manifest.has_kv


async def test_a_function_without_the_capability_is_staged_without_it(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("f-1", capabilities=RuntimeCapabilities(fetchAPI=False, kv=False))
        await world.stage.stage([world.function(live="f-1")])
        manifest = read_manifest(tmp_path, "f-1")
        assert not manifest.may_fetch
        assert not manifest.has_kv


async def test_a_revision_that_cannot_be_staged_leaves_the_one_before(tmp_path: Path):
    async with staging(tmp_path) as world:
        missing = "sha256:" + "1" * 64
        world.artifacts.missing.add(missing)
        await world.add_revision("f-1")
        await world.add_revision("f-2", digest=missing)
        [served] = await world.stage.stage([world.function(live="f-2", serving="f-1")])
        assert served.status.live_revision == "f-1"
        world.artifacts.missing.clear()
        [served] = await world.stage.stage([world.function(live="f-2", serving="f-1")])
        assert served.status.live_revision == "f-2"


async def test_a_revision_of_another_function_is_never_served(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("g-1", owner_uid="u-2")
        [served] = await world.stage.stage([world.function(live="g-1")])
        assert served.status.live_revision is None


async def test_what_serves_is_decided_by_the_mode_of_the_revision_not_of_the_template(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("f-1")
        function = world.function(live="f-1")
        function.spec.template.mode = "filter"
        [served] = await world.stage.stage([function])
        assert (served.status.live_revision, served.spec.template.mode) == ("f-1", "backend")


async def test_a_function_without_any_revision_here_is_served_by_none(tmp_path: Path):
    async with staging(tmp_path) as world:
        [served] = await world.stage.stage([world.function(live="f-9")])
        assert served.status.live_revision is None


def shared(function: EdgeFunction, **percents: int) -> EdgeFunction:
    targets = [TrafficTarget(revision=name.replace("_", "-"), percent=percent) for name, percent in percents.items()]
    function.status.traffic = targets
    return function


def shares(function: EdgeFunction) -> dict[str, int | None]:
    return {target.revision: target.percent for target in function.status.targets}


async def test_every_revision_that_requests_go_to_is_staged(tmp_path: Path):
    async with staging(tmp_path) as world:
        for name in ("f-1", "f-2", "f-3"):
            await world.add_revision(name)
        function = shared(world.function(), f_1=90, f_2=10)
        function.status.traffic = [*function.status.targets, TrafficTarget(revision="f-3", tag="next")]
        [served] = await world.stage.stage([function])
        assert shares(served) == {"f-1": 90, "f-2": 10, "f-3": None}
        assert served.status.live_revision == "f-1"
        assert list_manifests(tmp_path) == ["f-1", "f-2", "f-3"]


async def test_shares_of_which_one_cannot_be_staged_leave_those_before(tmp_path: Path):
    async with staging(tmp_path) as world:
        missing = "sha256:" + "1" * 64
        world.artifacts.missing.add(missing)
        await world.add_revision("f-1")
        await world.add_revision("f-2")
        await world.add_revision("f-3", digest=missing)
        await world.stage.stage([shared(world.function(), f_1=60, f_2=40)])
        [served] = await world.stage.stage([shared(world.function(), f_2=50, f_3=50)])
        assert shares(served) == {"f-1": 60, "f-2": 40}
        world.artifacts.missing.clear()
        [served] = await world.stage.stage([shared(world.function(), f_2=50, f_3=50)])
        assert shares(served) == {"f-2": 50, "f-3": 50}


async def test_a_function_that_did_not_change_is_handed_out_as_the_same_object(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("f-1")
        function = world.function(live="f-1")
        [first] = await world.stage.stage([function])
        [second] = await world.stage.stage([function])
        assert second is first
        [other] = await world.stage.stage([world.function(live="f-1")])
        assert other is not first


async def test_an_artifact_is_fetched_once(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("f-1")
        for _ in range(3):
            await world.stage.stage([world.function(live="f-1")])
        assert world.artifacts.fetched == [DIGEST]


async def test_a_manifest_outlives_its_last_route_by_the_grace_and_no_more(tmp_path: Path):
    async with staging(tmp_path) as world:
        await world.add_revision("f-1")
        await world.stage.stage([world.function(live="f-1")])
        await world.stage.remove_idle({"f-1"})
        world.clock.advance(GRACE_SECONDS * 2)
        await world.stage.remove_idle(set())
        assert list_manifests(tmp_path) == ["f-1"], "requests in flight still name it"
        world.clock.advance(GRACE_SECONDS)
        await world.stage.remove_idle(set())
        assert list_manifests(tmp_path) == []
        await world.stage.stage([world.function(live="f-1")])
        assert list_manifests(tmp_path) == ["f-1"], "a rollback brings it back"
