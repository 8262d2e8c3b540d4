import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from skerry.api.errors import Invalid
from skerry.api.extensions_v1alpha2 import (
    EDGE_FUNCTION,
    Artifact,
    EdgeFunction,
    EdgeFunctionRevision,
    ResolvedSource,
    revision_name,
)
from skerry.api.function_traffic import TrafficEntry
from skerry.api.model import Document, condition_of, from_document, is_true, with_condition
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.client.transport import Target, Transport
from skerry.controllers import edge_functions
from skerry.controllers.builds import Built, SourceError
from skerry.controllers.edge_functions import EdgeFunctionController
from skerry.kit.clock import SystemClock
from skerry.kit.errors import SkerryError
from skerry.kit.tasks import background
from skerry.testing.control_plane import collecting, memory_control_plane
from skerry.testing.manifests import answering, edge_function


@dataclass
class FakeBuilder:
    """Builds anything but what `failures` names; `gate` holds builds back, `holds_retries` those after the first."""

    failures: dict[str, Exception] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    holds_retries: asyncio.Event | None = None
    retries: asyncio.Event = field(default_factory=asyncio.Event)
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    resolved: ResolvedSource | None = None

    async def is_stored(self, _: Artifact) -> bool:
        return not self.lost

    async def build(self, revision: EdgeFunctionRevision) -> Built:
        self.resolved = revision.status.source
        source = revision.spec.code.js_source
        assert source is not None
        assert source.assets is not None
        text = source.assets.files[0].content
        if self.gate:
            await self.gate.wait()
        if self.holds_retries and text in self.built:
            self.retries.set()
            await self.holds_retries.wait()
        self.built.append(text)
        self.progress.set()
        self.lost = False
        for mark, failure in list(self.failures.items()):
            if mark in text:
                if not isinstance(failure, SourceError):
                    del self.failures[mark]
                raise failure
        artifact = Artifact(digest="sha256:" + "0" * 64, size_bytes=len(text))
        return Built(artifact, ResolvedSource(commit="c" * 40), "a note")

    async def until_built(self, mark: str) -> None:
        """Wait until something was built whose text has a mark."""
        async with asyncio.timeout(60):
            while not any(mark in text for text in self.built):
                self.progress.clear()
                await self.progress.wait()


@dataclass
class World:
    client: Client
    functions: Informer[EdgeFunction]
    revisions: Informer[EdgeFunctionRevision]
    builder: FakeBuilder
    changed: asyncio.Event
    versions: dict[str, int] = field(default_factory=dict)

    async def apply(self, name: str, text: str, *, history_limit: int | None = None) -> EdgeFunction:
        wanted = from_document(
            EdgeFunction, json.loads(edge_function(name, answering(text), history_limit=history_limit))
        )
        stored = await self.client.find(EdgeFunction, name)
        if stored is None:
            applied = await self.client.create(wanted)
        else:
            applied = await self.client.change(stored, lambda f: setattr(f, "spec", wanted.spec))
        self.versions[name] = int(applied.metadata.resource_version or 0)
        return applied

    async def serve(self, name: str) -> None:
        """Do as the agent does: put what was decided into force."""

        def tell(function: EdgeFunction) -> None:
            function.status.serving_revision = function.status.live_revision
            for target in function.status.targets:
                target.ready = True

        await self.client.change_status(await self.client.get(EdgeFunction, name), tell)

    async def split(self, name: str, *entries: TrafficEntry) -> EdgeFunction:
        """Set a function's spec.traffic."""
        function = await self.client.get(EdgeFunction, name)
        applied = await self.client.change(function, lambda f: setattr(f.spec, "traffic", list(entries) or None))
        self.versions[name] = int(applied.metadata.resource_version or 0)
        return applied

    async def build(self, name: str, *texts: str) -> list[str]:
        """Apply one template after the other; return the names of their revisions."""
        names = []
        for text in texts:
            await self.apply(name, text)
            built = await self.until(
                name, lambda f: f.status.live_revision == revision_name(f) and latest_reason(f) == "Live"
            )
            await self.serve(name)
            names.append(built.status.live_revision or "")
        return names

    async def until(self, name: str, holds: Callable[[EdgeFunction], bool]) -> EdgeFunction:
        """Wait until the function, not older than what was applied last, is as asked."""
        async with asyncio.timeout(60):
            while True:
                function = self.functions.get(name)
                fresh = function and int(function.metadata.resource_version or 0) >= self.versions.get(name, 0)
                if function and fresh and holds(function):
                    return function
                self.changed.clear()
                await self.changed.wait()


def latest_reason(function: EdgeFunction) -> str:
    latest = condition_of(function.status.conditions, "Latest")
    return latest.reason if latest and latest.observed_generation == function.metadata.generation else ""


def ready_message(function: EdgeFunction) -> str:
    ready = condition_of(function.status.conditions, "Ready")
    return ready.message if ready else ""


def traffic_reason(function: EdgeFunction) -> str:
    traffic = condition_of(function.status.conditions, "Traffic")
    return traffic.reason if traffic and traffic.observed_generation == function.metadata.generation else ""


def reason_of(revision: EdgeFunctionRevision | None) -> str:
    ready = condition_of(revision.status.conditions, "Ready") if revision else None
    return ready.reason if ready else ""


@asynccontextmanager
async def running(builder: FakeBuilder | None = None) -> AsyncIterator[World]:
    async with memory_control_plane() as client, controlled(client, builder) as world:
        yield world


@asynccontextmanager
async def controlled(
    client: Client, builder: FakeBuilder | None = None, toolchain: str = "skerry 1"
) -> AsyncIterator[World]:
    """One life of the controller."""
    functions, revisions = Informer(client, EdgeFunction), Informer(client, EdgeFunctionRevision)
    builder = builder or FakeBuilder()
    world = World(client, functions, revisions, builder, asyncio.Event())
    functions.on_change(lambda _: world.changed.set())
    revisions.on_change(lambda _: world.changed.set())
    controller = EdgeFunctionController(client, functions, revisions, builder, SystemClock(), toolchain=toolchain)
    async with background(("revisions", revisions.run), ("functions", functions.run)), controller.running():
        yield world


async def test_a_function_goes_live_when_its_revision_is_built_and_ready_when_it_is_served():
    async with running() as world:
        await world.apply("a", "one")
        function = await world.until("a", lambda f: latest_reason(f) == "Live")
        assert function.status.live_revision == revision_name(function)
        ready = condition_of(function.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "WaitingForGateway")
        await world.serve("a")
        await world.until("a", lambda f: is_true(f.status.conditions, "Ready"))


async def test_a_function_that_the_gateway_refused_says_why_it_waits():
    def refuse(function: EdgeFunction) -> None:
        told = condition_of(function.status.conditions, "Latest")
        assert told is not None
        refused = {"type": "Programmed", "status": "False", "reason": "Invalid", "message": "no symbol"}
        told = told.model_copy(update=refused)
        function.status.conditions = with_condition(function.status.conditions, told)

    async with running() as world:
        await world.apply("a", "one")
        function = await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.client.change_status(function, refuse)
        function = await world.until("a", lambda f: "no symbol" in ready_message(f))
        assert ready_message(function) == f"revision {function.status.live_revision} is not routed to: no symbol"


async def test_ready_keeps_its_generation_until_the_new_revision_is_served():
    async with running() as world:
        await world.apply("a", "one")
        await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.serve("a")
        await world.until("a", lambda f: is_true(f.status.conditions, "Ready"))
        await world.apply("a", "two")
        function = await world.until("a", lambda f: latest_reason(f) == "Live")
        ready = condition_of(function.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.observed_generation) == ("True", 1)
        await world.serve("a")
        await world.until(
            "a", lambda f: getattr(condition_of(f.status.conditions, "Ready"), "observed_generation", 0) == 2
        )


async def test_a_failed_revision_leaves_the_old_one_live_and_says_why():
    builder = FakeBuilder(failures={"bad": SourceError("index.js:1:1: no")})
    async with running(builder) as world:
        await world.apply("a", "good")
        await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.serve("a")
        before = (await world.client.get(EdgeFunction, "a")).status.live_revision
        await world.apply("a", "bad")
        function = await world.until("a", lambda f: latest_reason(f) == "Failed")
        assert function.status.live_revision == before
        latest = condition_of(function.status.conditions, "Latest")
        assert latest is not None
        assert "index.js:1:1: no" in latest.message
        ready = condition_of(function.status.conditions, "Ready")
        assert ready is not None
        assert ready.status == "True"
        assert "index.js:1:1: no" in ready.message


async def test_a_failure_of_the_builder_is_tried_again_and_one_of_the_source_is_not():
    builder = FakeBuilder(failures={"later": SkerryError("disk full"), "never": SourceError("no")})
    async with running(builder) as world:
        await world.apply("a", "later")
        await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.apply("b", "never")
        await world.until("b", lambda f: latest_reason(f) == "Failed")
        assert sum("later" in text for text in builder.built) == 2
        assert sum("never" in text for text in builder.built) == 1


async def test_what_failed_is_tried_again_by_another_toolchain_and_by_the_same_it_is_not():
    async with memory_control_plane() as client:
        async with controlled(client, FakeBuilder(failures={"never": SourceError("no")})) as world:
            await world.apply("a", "never")
            await world.until("a", lambda f: latest_reason(f) == "Failed")
        same = FakeBuilder()
        async with controlled(client, same) as world:
            await world.apply("b", "other")
            await world.until("b", lambda f: latest_reason(f) == "Live")
            assert not any("never" in text for text in same.built)
        async with controlled(client, toolchain="skerry 2") as world:
            await world.until("a", lambda f: latest_reason(f) == "Live")


async def test_while_a_build_is_tried_again_its_function_goes_on_to_say_what_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(edge_functions, "FIRST_RETRY_SECONDS", 0.01)
    builder = FakeBuilder(failures={"later": SkerryError("disk full")}, holds_retries=asyncio.Event())
    async with running(builder) as world:
        await world.apply("a", "later")
        await builder.retries.wait()
        function = await world.until("a", lambda f: latest_reason(f) == "Retrying")
        assert ready_message(function).endswith("the build will be tried again: disk full")
        assert builder.holds_retries
        builder.holds_retries.set()
        await world.until("a", lambda f: latest_reason(f) == "Live")


async def test_an_older_template_finds_its_revision_and_is_not_built_again():
    async with running() as world:
        for text in ("one", "two"):
            await world.apply("a", text)
            await world.until("a", lambda f: latest_reason(f) == "Live" and f.status.live_revision == revision_name(f))
        await world.apply("a", "one")
        await world.until("a", lambda f: latest_reason(f) == "Live" and f.status.live_revision == revision_name(f))
        assert len(world.builder.built) == 2


async def test_history_is_trimmed_oldest_first_and_never_the_live_revision():
    async with running() as world:
        for text in ("one", "two", "three", "four"):
            await world.apply("a", text, history_limit=2)
            await world.until("a", lambda f: latest_reason(f) == "Live" and f.status.live_revision == revision_name(f))
            await world.serve("a")
        await world.until("a", lambda _: len(world.revisions) == 2)
        function = world.functions.get("a")
        assert function is not None
        assert function.status.live_revision in {r.name for r in world.revisions}


async def test_revisions_go_with_their_function():
    async with running() as world, collecting(world.client):
        await world.apply("a", "one")
        await world.apply("b", "one")
        await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.until("b", lambda f: latest_reason(f) == "Live")
        await world.client.delete(await world.client.get(EdgeFunction, "a"))
        await world.until("b", lambda _: len(world.revisions) == 1)


async def test_a_function_made_anew_under_an_old_name_gets_revisions_of_its_own():
    async with running() as world:
        first = await world.apply("a", "one")
        await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.client.delete(first)
        second = await world.apply("a", "one")
        await world.until("a", lambda f: f.uid == second.uid and latest_reason(f) == "Live")
        owners = {o.uid for r in world.revisions for o in r.metadata.owner_references or ()}
        assert second.uid in owners


async def test_a_build_for_a_template_that_moved_on_does_not_go_live():
    gate = asyncio.Event()
    async with running(FakeBuilder(gate=gate)) as world:
        await world.apply("a", "one")
        await world.until("a", lambda f: latest_reason(f) == "Building")
        await world.apply("a", "two")
        gate.set()
        function = await world.until("a", lambda f: latest_reason(f) == "Live")
        assert function.status.live_revision == revision_name(function)


class HeldBack:
    """The transport of another, whose first list of functions waits for `gate`."""

    def __init__(self, transport: Transport, gate: asyncio.Event) -> None:
        self._transport = transport
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def list(self, target: Target, **options: Any) -> Document:
        if target.kind is EDGE_FUNCTION:
            await self._gate.wait()
        return await self._transport.list(target, **options)


async def test_a_restart_neither_builds_anew_nor_removes_a_revision():
    async with memory_control_plane() as client:
        async with controlled(client) as world:
            await world.apply("a", "one")
            await world.until("a", lambda f: latest_reason(f) == "Live")
            before = {revision.uid for revision in world.revisions}
        gate = asyncio.Event()
        async with controlled(Client(HeldBack(client.transport, gate))) as world:
            await world.revisions.synced()
            for _ in range(100):  # turns of the loop, in which the controller could do harm
                await client.get(EdgeFunction, "a")
            gate.set()
            await world.apply("b", "two")
            await world.until("b", lambda f: latest_reason(f) == "Live")
            assert before <= {revision.uid async for revision in client.list(EdgeFunctionRevision)}
            assert len(world.builder.built) == 1


async def test_a_lost_artifact_is_built_again():
    async with memory_control_plane() as client:
        async with controlled(client) as world:
            await world.apply("a", "one")
            await world.until("a", lambda f: latest_reason(f) == "Live")
        builder = FakeBuilder(lost=True)
        async with controlled(client, builder):
            await builder.until_built("one")


async def test_the_lost_artifact_of_a_live_revision_is_built_again_though_the_latest_is_broken():
    builder = FakeBuilder(failures={"bad": SourceError("no")})
    async with running(builder) as world:
        await world.apply("a", "good")
        await world.until("a", lambda f: latest_reason(f) == "Live")
        builder.lost = True
        await world.apply("a", "bad")
        function = await world.until("a", lambda f: latest_reason(f) == "Failed")
        assert function.status.live_revision is not None
        assert sum("good" in text for text in builder.built) == 2


async def test_a_live_revision_that_was_deleted_is_named_no_more():
    builder = FakeBuilder(failures={"bad": SourceError("no")})
    async with running(builder) as world:
        await world.apply("a", "good")
        good = await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.apply("a", "bad")
        await world.until("a", lambda f: latest_reason(f) == "Failed")
        await world.client.delete(await world.client.get(EdgeFunctionRevision, good.status.live_revision or ""))
        function = await world.until("a", lambda f: f.status.live_revision is None)
        ready = condition_of(function.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "Failed")


async def test_a_function_is_never_made_to_serve_a_revision_of_another():
    builder = FakeBuilder(failures={"bad": SourceError("no")})
    async with running(builder) as world:
        await world.apply("a", "good")
        other = await world.until("a", lambda f: latest_reason(f) == "Live")
        await world.apply("b", "bad")
        function = await world.until("b", lambda f: latest_reason(f) == "Failed")
        await world.client.change_status(
            function, lambda f: setattr(f.status, "live_revision", other.status.live_revision)
        )
        world.versions["b"] = int((await world.client.get(EdgeFunction, "b")).metadata.resource_version or 0)
        await world.until("b", lambda f: f.status.live_revision is None)


async def test_a_build_that_a_restart_cut_short_is_told_as_superseded():
    async with memory_control_plane() as client:
        gate = asyncio.Event()
        async with controlled(client, FakeBuilder(gate=gate)) as world:
            await world.apply("a", "one")
            await world.until("a", lambda f: latest_reason(f) == "Building")
        async with controlled(client) as world:
            await world.apply("a", "two")
            function = await world.until(
                "a", lambda f: latest_reason(f) == "Live" and f.status.live_revision == revision_name(f)
            )
            [old] = [r for r in world.revisions if r.name != function.status.live_revision]
            async with asyncio.timeout(60):
                while reason_of(world.revisions.get(old.name)) != "Superseded":
                    world.changed.clear()
                    await world.changed.wait()


async def test_a_rollback_takes_effect_while_another_revision_is_being_built():
    builder = FakeBuilder()
    async with running(builder) as world:
        one, two = await world.build("a", "one", "two")
        builder.gate = asyncio.Event()
        await world.apply("a", "three")
        await world.until("a", lambda f: latest_reason(f) == "Building" and f.status.live_revision == two)
        await world.split("a", TrafficEntry(revision=one, percent=100))
        function = await world.until("a", lambda f: f.status.live_revision == one)
        assert (latest_reason(function), function.status.previous_revision) == ("Building", two)
        builder.gate.set()
        function = await world.until("a", lambda f: latest_reason(f) == "Ready")
        assert function.status.live_revision == one, "what is pinned stays, whatever is built"


async def test_history_keeps_what_traffic_and_tags_name():
    async with running() as world:
        one, _, _, four = await world.build("a", "one", "two", "three", "four")
        await world.split("a", TrafficEntry(latest=True, percent=100), TrafficEntry(revision=one, tag="old"))
        await world.until("a", lambda f: traffic_reason(f) == "AsSpecified")
        function = await world.client.get(EdgeFunction, "a")
        await world.client.change(function, lambda f: setattr(f.spec, "revision_history_limit", 1))
        await world.until("a", lambda _: {r.name for r in world.revisions} == {one, four})


async def test_a_pinned_revision_that_comes_later_is_put_into_force_when_it_is_there():
    async with running() as world:
        (one,) = await world.build("a", "one")
        future = revision_name(from_document(EdgeFunction, json.loads(edge_function("a", answering("two")))))
        await world.split("a", TrafficEntry(revision=future, percent=100))
        function = await world.until("a", lambda f: traffic_reason(f) == "RevisionMissing")
        assert function.status.live_revision == one
        ready = condition_of(function.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.message) == (
            "True",
            f"revision {one} serves; spec.traffic is not in force: the function has no revision {future}",
        )
        stored = await world.client.get(EdgeFunction, "a")
        wanted = from_document(EdgeFunction, json.loads(edge_function("a", answering("two"))))
        await world.client.change(stored, lambda f: setattr(f.spec, "template", wanted.spec.template))
        await world.until("a", lambda f: f.status.live_revision == future and traffic_reason(f) == "AsSpecified")


async def test_no_condition_stands_twice_however_often_it_changes():
    builder = FakeBuilder(failures={"later": SkerryError("disk full")})
    async with running(builder) as world:
        await world.build("a", "one", "later", "two", "one")
        function = await world.client.get(EdgeFunction, "a")
        types = [condition.type for condition in function.status.conditions or ()]
        assert sorted(types) == ["Latest", "Ready", "Traffic"]
        for revision in world.revisions:
            assert sorted(condition.type for condition in revision.status.conditions or ()) == ["Ingest", "Ready"]


async def test_the_generation_counts_changes_of_the_spec_and_no_others():
    async with running() as world:
        one, _ = await world.build("a", "one", "two")
        function = await world.client.get(EdgeFunction, "a")
        assert function.metadata.generation == 2, "statuses were written many times"
        await world.split("a", TrafficEntry(revision=one, percent=100))
        function = await world.until("a", lambda f: f.status.live_revision == one)
        assert function.metadata.generation == function.status.observed_generation == 3


async def test_an_update_is_checked_as_it_is_to_become():
    async with running() as world:
        function = await world.apply("a", "one")
        with pytest.raises(Invalid, match=r"spec\.template\.code: Required value"):
            await world.client.change(function, lambda f: setattr(f.spec.template.code, "js_source", None))
