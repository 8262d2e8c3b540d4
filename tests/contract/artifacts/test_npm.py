"""Functions with packages: of the registry that npm is configured for here, and of one whose packages are hostile."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.artifacts.errors import BuildError, FetchError
from skerry.artifacts.fetching.http import HttpClient
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.functions import FunctionBuilder
from skerry.artifacts.javascript import JavaScriptBuilder, JavaScriptSettings
from skerry.artifacts.npm.installing import NpmSettings, PackageInstaller
from skerry.main.building import find_node, find_npm
from skerry.testing.npm_registry import NpmPackage, configured_registry, npm_registry

ESBUILD = Path(__file__).parents[3] / "js-engine" / "node_modules" / "esbuild"
BuilderOf = Callable[..., AbstractAsyncContextManager[FunctionBuilder]]
USES_A = 'import a from "a"; export default { fetch: () => new Response(a) };'


class Accepting:
    async def check(self, _: bytes) -> None:
        """Accept any bundle: what the engine says is not of this room."""


@pytest.fixture
def builder_of(tmp_path: Path) -> BuilderOf:
    @asynccontextmanager
    async def opened(registry: str, **more: Any) -> AsyncIterator[FunctionBuilder]:
        fetching = FetchSettings(attempts_max=1)
        build = JavaScriptSettings(find_node(), ESBUILD, tmp_path / "staging")
        npm = NpmSettings(
            **{"program": find_npm(), **more}, node=build.node, staging=build.staging, registry_url=registry
        )
        async with (
            HttpClient(fetching) as http,
            JavaScriptBuilder(build, Accepting()) as javascript,
            PackageInstaller(http, npm, fetching) as packages,
        ):
            yield FunctionBuilder(javascript, packages)

    return opened


def files(source: str, **dependencies: str) -> dict[str, str]:
    return {"index.js": source, "package.json": json.dumps({"dependencies": dependencies})}


async def test_a_real_package_and_what_it_depends_on_are_bundled_and_its_lock_gives_the_same_bytes(
    builder_of: BuilderOf,
) -> None:
    sources = files(
        'import odd from "is-odd"; export default { fetch: () => new Response(odd(3)) };', **{"is-odd": "^3"}
    )
    async with builder_of(configured_registry()) as builder:
        built = await builder.from_files(sources, "index.js")
        assert b"is-number" in built.function.wasm
        assert set(json.loads(built.lock)["packages"]) == {"", "node_modules/is-odd", "node_modules/is-number"}
    async with builder_of(configured_registry(), program=None) as builder:  # a lock needs no npm
        again = await builder.from_files({**sources, "package-lock.json": built.lock}, "index.js")
    assert again.function.wasm == built.function.wasm
    assert again.lock == ""


async def test_a_package_can_be_the_function(builder_of: BuilderOf) -> None:
    handler = 'import { word } from "@scope/word"; export default { fetch: () => new Response(word) };'
    packages = [
        NpmPackage("@scope/hello", "1.0.0", {"index.js": handler}, {"@scope/word": "^2"}),
        NpmPackage("@scope/hello", "1.1.0", {"dist/fn.js": handler, "index.js": handler}, {"@scope/word": "^2"}),
        NpmPackage("@scope/word", "2.0.1", {"index.js": 'export const word = "packed";'}),
        NpmPackage("many", "1.0.0", {f"{number:02}.js": "" for number in range(25)}),
    ]
    with npm_registry(packages, token="s3cret") as registry:
        async with builder_of(registry.url, token="s3cret") as builder:
            newest = await builder.from_package("@scope/hello", "latest", "dist/fn.js")
            older = await builder.from_package("@scope/hello", "1.0.0", ".")
            assert (newest.version, older.version) == ("1.1.0", "1.0.0")
            assert b'"packed"' in newest.function.wasm
            again = await builder.from_package("@scope/hello", "latest", "dist/fn.js", lock=newest.lock)
            assert again.function.wasm == newest.function.wasm
            with pytest.raises(
                BuildError, match=r"no module of the package @scope/hello@1\.1\.0; it has: index.js, dist/fn"
            ):
                await builder.from_package("@scope/hello", "latest", "nope.js")
            with pytest.raises(BuildError, match=r"it has: 00\.js, 01\.js, .*, 19\.js and 5 more$"):
                await builder.from_package("many", "latest", "nope.js")
            with pytest.raises(BuildError, match="the npm registry has no version @scope/hello@\\^9"):
                await builder.from_package("@scope/hello", "^9", ".")
            with pytest.raises(BuildError, match="the npm registry has no package @scope/nope"):
                await builder.from_package("@scope/nope", "latest", ".")
        async with builder_of(registry.url, token="wr0ng") as builder:
            with pytest.raises(FetchError, match="the npm registry answered 401") as raised:
                await builder.from_package("@scope/hello", "latest", ".")
    assert "wr0ng" not in f"{raised.value} {raised.value.detail} {raised.value.__cause__}"


async def test_a_package_without_an_entry_point_is_told(builder_of: BuilderOf) -> None:
    class Bare(NpmPackage):
        @property
        def manifest(self) -> dict[str, object]:
            return {"name": self.name, "version": self.version}

    with npm_registry([Bare("bare", files={"lib/a.js": "1"})]) as registry:
        async with builder_of(registry.url) as builder:
            with pytest.raises(BuildError, match=r"bare@1\.0\.0 names no entry point"):
                await builder.from_package("bare", "latest", ".")


async def test_no_script_of_a_package_is_ever_run(builder_of: BuilderOf, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    scripts = dict.fromkeys(("preinstall", "install", "postinstall", "prepare"), f"touch {mark}")
    evil = NpmPackage("a", files={"index.js": "export default 'a'"}, scripts=scripts)
    with npm_registry([evil]) as registry:
        async with builder_of(registry.url) as builder:
            sources = files(USES_A, a="latest")
            sources["package.json"] = json.dumps({**json.loads(sources["package.json"]), "scripts": scripts})
            await builder.from_files(sources, "index.js")
    assert not mark.exists()


async def test_a_tarball_that_is_not_what_the_registry_says_is_refused(builder_of: BuilderOf, tmp_path: Path) -> None:
    with npm_registry([NpmPackage("a", files={"index.js": "1"}, tampered=True)]) as registry:
        async with builder_of(registry.url) as builder:
            for _ in range(2):
                with pytest.raises(BuildError, match=r"the package a@1\.0\.0 is not what the lock says"):
                    await builder.from_files(files(USES_A, a="1"), "index.js")
    assert not list((tmp_path / "staging").iterdir())


@pytest.mark.parametrize(
    "place", ["git+https://example.com/x.git", "http://127.0.0.2:9/x.tgz", "github:user/repository"]
)
async def test_a_dependency_of_a_dependency_from_elsewhere_is_refused(builder_of: BuilderOf, place: str) -> None:
    with npm_registry([NpmPackage("a", files={"index.js": "1"}, dependencies={"x": place})]) as registry:
        async with builder_of(registry.url) as builder:
            with pytest.raises(BuildError):
                await builder.from_files(files(USES_A, a="1"), "index.js")


async def test_a_lock_of_another_host_is_brought_from_the_configured_registry(builder_of: BuilderOf) -> None:
    with npm_registry([NpmPackage("a", files={"index.js": "export default 'a'"})]) as registry:
        async with builder_of(registry.url) as builder:
            sources = files(USES_A, a="1")
            lock = (await builder.from_files(sources, "index.js")).lock
            elsewhere = lock.replace(registry.url, "http://169.254.169.254/")
            assert elsewhere != lock
            await builder.from_files({**sources, "package-lock.json": elsewhere}, "index.js")
        assert registry.asked.count("a/-/a-1.0.0.tgz") == 2


async def test_without_npm_and_without_a_network_it_is_told_what_is_missing(builder_of: BuilderOf) -> None:
    async with builder_of("http://127.0.0.1:9/", program=None) as builder:
        with pytest.raises(BuildError, match="packages need npm, and there is none"):
            await builder.from_files(files(USES_A, a="1"), "index.js")
    async with builder_of("http://127.0.0.1:9/") as builder:
        with pytest.raises(FetchError, match="can't be fetched"):
            await builder.from_files(files(USES_A, a="1"), "index.js")


async def test_an_installation_is_used_again_and_the_oldest_go(
    builder_of: BuilderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.artifacts.npm.installing.INSTALLATIONS_MAX", 1)
    packages = [NpmPackage("a", version, {"index.js": "export default 1"}) for version in ("1.0.0", "2.0.0")]
    with npm_registry(packages) as registry:
        async with builder_of(registry.url) as builder:
            first = await builder.from_files(files(USES_A, a="1"), "index.js")
            await builder.from_files(files(USES_A, a="1"), "index.js", lock=first.lock)
            assert registry.asked.count("a/-/a-1.0.0.tgz") == 1
            await builder.from_files(files(USES_A, a="2"), "index.js")
            assert len(list((tmp_path / "staging").iterdir())) == 1
