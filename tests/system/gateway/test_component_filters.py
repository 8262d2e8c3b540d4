"""What a component in mode filter makes of requests and answers: a real worker, a real Envoy, a real upstream."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.engine.check import BundleChecker
from skerry.engine.errors import LoadError
from skerry.engine.filtering import FILTER_BODY_BYTES_MAX
from skerry.engine.manifest import FunctionManifest, write_manifest
from skerry.engine.workers import WorkerSettings, run_workers
from skerry.gateway.resources import NodeFacts
from skerry.testing.plugins import built
from tests.system.gateway.test_filters import GATEWAY, Filter, World, route, rule

pytestmark = pytest.mark.system

CLOSED, OPEN = Filter("closed", ""), Filter("open", "", open=True)
BRIEF, BRIEF_OPEN = Filter("brief", "", timeout_seconds=1), Filter("brief-open", "", open=True, timeout_seconds=1)
FILTERS = (CLOSED, OPEN, BRIEF, BRIEF_OPEN)
ROUTES = {"": CLOSED, "trap-open": OPEN, "error-open": OPEN, "loop": BRIEF, "loop-open": BRIEF_OPEN}


def resources(port: int) -> str:
    routes = (route(f"r-{path or 'any'}", rule(path, [each.name], port)) for path, each in ROUTES.items())
    return GATEWAY + "".join(each.resource() for each in FILTERS) + "".join(routes)


def settings_in(directory: Path, repository: Path, cache_dir: Path) -> WorkerSettings:
    return WorkerSettings(
        run_dir=directory / "w",
        functions_dir=directory / "functions",
        logs_dir=directory / "logs",
        kv_file=directory / "kv.db",
        engine_cache=cache_dir / "engine",
        component=repository / "js-engine" / "dist" / "skerry-js-engine.wasm",
        count=1,
    )


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, cache_dir: Path, any_edge: Any, new_upstream: Any
) -> AsyncIterator[World]:
    directory = tmp_path_factory.mktemp("filters")
    settings = settings_in(directory, repository, cache_dir)
    artifact = built(repository, "filter-python")
    async with BundleChecker(settings.component, settings.engine_cache) as checker:  # it compiles, as `skerry up` does
        await checker.check(artifact.read_bytes(), is_filter=True)
    upstream = new_upstream("upstream")
    port = await upstream.listen_tcp()
    async with run_workers(settings) as workers:
        for each in FILTERS:
            env = {"GREETING": "hello"}
            manifest = FunctionManifest(
                each.revision, each.name, artifact, timeout_seconds=each.timeout_seconds, env=env
            )
            write_manifest(settings.functions_dir, manifest)
        node = NodeFacts(engine_sockets=tuple(str(path) for path in workers.socket_paths))
        (directory / "edge").mkdir()
        async with any_edge(directory / "edge", resources(port), node) as edge:
            yield World(edge, workers, settings, upstream, port)
    upstream.kill()


async def test_a_request_that_a_component_forwards_arrives_as_it_was_sent(world: World) -> None:
    large = bytes(3 * FILTER_BODY_BYTES_MAX)
    answer = await world.ask("nothing/a%20b?c=d&e", method="POST", content=large, headers={"x-many": "one"})
    assert answer.status_code == 200
    assert (world.seen.method, world.seen.path, world.seen.body) == ("POST", "/nothing/a%20b?c=d&e", large)
    assert world.seen.headers["x-many"] == "one"


async def test_a_component_answers_instead_of_the_backend(world: World) -> None:
    answer = await world.ask("deny")
    assert (answer.status_code, answer.text, answer.headers["x-why"]) == (418, "not today\n", "rule")
    assert world.upstream.requests == []


async def test_a_component_changes_headers(world: World) -> None:
    await world.ask("headers", method="POST", content=b"kept", headers={"x-secret": "s"})
    assert (world.seen.headers["x-added"], world.seen.body) == ("hello", b"kept")
    assert "x-secret" not in world.seen.headers


async def test_a_component_changes_method_host_path_and_query_and_keeps_the_body(world: World) -> None:
    await world.ask("path?a=b", method="POST", content=b"as it was")
    assert (world.seen.method, world.seen.path) == ("PATCH", "/elsewhere?from=filter")
    assert (world.seen.headers["host"], world.seen.body) == ("inner.test", b"as it was")


async def test_a_component_changes_a_body_that_it_has_read(world: World) -> None:
    await world.ask("body", method="POST", content=b"quiet")
    assert (world.seen.headers["content-length"], world.seen.body) == ("5", b"QUIET")


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (0, "0"),
        (FILTER_BODY_BYTES_MAX, f"{FILTER_BODY_BYTES_MAX}"),
        (FILTER_BODY_BYTES_MAX + 1, "is larger than 1 MiB"),
    ],
)
async def test_a_body_up_to_the_limit_is_read_and_a_larger_one_passes_by(world: World, length: int, told: str) -> None:
    await world.ask("look", method="POST", content=bytes(length))
    assert told in world.seen.headers["x-length"]
    assert len(world.seen.body) == length


async def test_the_response_hook_sees_the_request_and_changes_headers(world: World) -> None:
    world.upstream.headers = "set-cookie: a=1\r\nset-cookie: b=2\r\n"
    answer = await world.ask("answers/deep")
    world.upstream.headers = ""
    assert answer.headers["x-seen"] == "GET /answers/deep"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.json()["path"] == "/answers/deep"


async def test_the_response_hook_changes_status_and_body(world: World) -> None:
    answer = await world.ask("rewrite")
    assert (answer.status_code, answer.text[-2:]) == (203, "}!")
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    ("path", "status", "kinds"),
    [
        ("trap", 500, {"trap"}),
        ("error", 500, {"exception"}),
        ("late", 500, {"trap"}),
        ("loop", 504, {"timeout"}),
        ("newline", 500, {"bad-response"}),
        ("large", 500, {"bad-response"}),
        ("status", 500, {"bad-response"}),
    ],
)
async def test_a_component_that_fails_closed_answers_with_its_failure(
    world: World, path: str, status: int, kinds: set[str]
) -> None:
    answer = await world.ask(path)
    assert answer.status_code == status
    assert answer.headers["x-skerry-error"] in kinds
    assert (await world.ask("nothing")).status_code == 200


@pytest.mark.parametrize("path", ["trap-open", "loop-open", "error-open"])
async def test_a_request_goes_on_past_a_component_that_fails_open(world: World, path: str) -> None:
    answer = await world.ask(path, method="POST", content=b"still here")
    assert (answer.status_code, world.seen.body) == (200, b"still here")


async def test_what_can_not_run_in_a_mode_is_told_what_it_is_and_what_can(world: World, repository: Path) -> None:
    settings = world.settings
    async with BundleChecker(settings.component, settings.engine_cache) as checker:
        for module, is_filter, found in (
            ("filter-python", False, "exports skerry:function/filtering@0.1.0, which can't run in mode backend"),
            ("http-js", True, "exports wasi:http/incoming-handler@.*, which can't run in mode filter"),
            ("function-python", True, "exports skerry:function/handler@0.1.0, which can't run in mode filter"),
            ("command-c", True, "a WASI preview 1 command, which can't run in mode filter"),
        ):
            accepted = "filtering@0.1, a Proxy-Wasm" if is_filter else "a WASI preview 1 command"
            with pytest.raises(LoadError, match=f"{found}; accepted is .*{accepted}"):
                await checker.check(built(repository, module).read_bytes(), is_filter=is_filter)
