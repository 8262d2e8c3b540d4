"""The builder with the real Node.js and esbuild; only the engine is played by a stand-in."""

import asyncio
import errno
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import pytest

from skerry.artifacts import bundler, sources
from skerry.artifacts.errors import BuilderError, BuildError, BundleRefusedError, Diagnostic
from skerry.artifacts.javascript import BuiltFunction, JavaScriptBuilder, JavaScriptSettings
from skerry.artifacts.wasm_module import SOURCE_MAP_SECTION
from skerry.kit.errors import ConfigurationError

ESBUILD = Path(__file__).parents[3] / "js-engine" / "node_modules" / "esbuild"


class Engine:
    """A `BundleCheck` that keeps what it was asked, and refuses on demand."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.refusal: Callable[[str], BundleRefusedError | None] = lambda _: None

    async def check(self, wasm: bytes) -> None:
        self.asked.append(wasm)
        refusal = self.refusal(bundle_of(wasm))
        if refusal:
            raise refusal


def bundle_of(wasm: bytes) -> str:
    start = wasm.index(b'"use strict";')
    return wasm[start : wasm.index(b"skerryModule;\n", start)].decode() + "skerryModule;\n"


def settings(tmp_path: Path, **limits: int) -> JavaScriptSettings:
    beside_python = Path(sys.executable).with_name("node")  # where `make setup` puts it
    node = beside_python if beside_python.is_file() else shutil.which("node")
    assert node, "no Node.js: run `make setup`"
    return JavaScriptSettings(Path(node), ESBUILD, tmp_path / "staging", **limits)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def builder(tmp_path: Path, engine: Engine) -> AsyncIterator[JavaScriptBuilder]:
    async with JavaScriptBuilder(settings(tmp_path), engine) as builder:
        yield builder


async def faults(builder: JavaScriptBuilder, files: dict[str, str], entrypoint: str = "main.js") -> list[Diagnostic]:
    with pytest.raises(BuildError) as raised:
        await builder.build(files, entrypoint)
    return list(raised.value.diagnostics)


async def test_modules_typescript_and_json_become_one_strict_script(builder: JavaScriptBuilder, engine: Engine) -> None:
    built = await builder.build(
        {
            "src/main.ts": 'import { greet } from "./greet";\nimport { name } from "../data.json";\n'
            "export default { fetch: (request: Request): Response => new Response(greet(name)) };",
            "src/greet.ts": "export const greet = (name: string): string => `Grüß dich, ${name}`;",
            "data.json": '{"name": "Wörld"}',
        },
        "src/main.ts",
    )
    assert engine.asked == [built.wasm]
    bundle = bundle_of(built.wasm)
    assert len(bundle.encode()) == built.bundle_bytes
    assert bundle.startswith('"use strict";\nvar skerryModule =')
    assert "Grüß dich" in bundle
    assert "Wörld" in bundle
    assert "import" not in bundle
    assert ": string" not in bundle
    assert built.warnings == ()


async def test_the_same_files_give_the_same_bytes_wherever_they_are_built(
    tmp_path: Path, engine: Engine, builder: JavaScriptBuilder
) -> None:
    files = {"lib/a.js": "export const a = 1;", "main.js": 'export * from "./lib/a.js";'}
    first = await builder.build(files, "main.js")
    async with JavaScriptBuilder(settings(tmp_path / "elsewhere"), engine) as other:
        second = await other.build(dict(reversed(files.items())), "main.js")
    assert first == second
    assert str(tmp_path).encode() not in first.wasm


async def test_the_source_map_names_the_files_as_their_author_does(builder: JavaScriptBuilder) -> None:
    wasm = (await builder.build({"src/main.ts": "export const x: number = 1;"}, "src/main.ts")).wasm
    at = wasm.index(SOURCE_MAP_SECTION.encode()) + len(SOURCE_MAP_SECTION)
    document = json.loads(wasm[at:])
    assert document["sources"] == ["src/main.ts"]
    assert "sourcesContent" not in document


async def test_a_syntax_error_names_file_line_and_column(builder: JavaScriptBuilder) -> None:
    files = {"src/main.ts": "const a = 1;\nconst b = 2;\n  let é = 'x' y;"}
    with pytest.raises(BuildError) as raised:
        await builder.build(files, "src/main.ts")
    assert str(raised.value) == 'src/main.ts:3:15: Expected ";" but found "y"'
    [fault] = raised.value.diagnostics
    assert fault.excerpt == "  let é = 'x' y;"


async def test_every_fault_is_listed_and_the_sentence_stays_short(builder: JavaScriptBuilder) -> None:
    files = {"main.js": "\n".join(f'import "./missing-{n}.js";' for n in range(20))}
    with pytest.raises(BuildError) as raised:
        await builder.build(files, "main.js")
    assert len(raised.value.diagnostics) == 20
    assert raised.value.public.endswith("; and 15 more")


async def test_a_missing_package_says_where_packages_come_from(builder: JavaScriptBuilder) -> None:
    [fault] = await faults(builder, {"main.js": 'import pad from "left-pad";'})
    assert (fault.file, fault.line, fault.column) == ("main.js", 1, 17)
    assert 'Could not resolve "left-pad"' in fault.message
    assert "package.json" in fault.message


@pytest.mark.parametrize("name", ["node:fs", "fs", "fs/promises", "child_process"])
async def test_a_module_of_node_is_refused_with_the_reason(builder: JavaScriptBuilder, name: str) -> None:
    [fault] = await faults(builder, {"main.js": f'import "{name}";'})
    assert "is a module of Node.js" in fault.message


@pytest.mark.parametrize("name", ["https://example.com/x.js", "npm:left-pad", "file:///etc/passwd"])
async def test_a_url_is_refused(builder: JavaScriptBuilder, name: str) -> None:
    [fault] = await faults(builder, {"main.js": f'import "{name}";'})
    assert "is a URL" in fault.message


async def test_a_regular_expression_that_the_engine_does_not_know_hinders_no_load(
    builder: JavaScriptBuilder, engine: Engine
) -> None:
    # The engine reads each literal when it loads the bundle; of a package, a function may need none of them.
    code = r"export default { fetch: (text) => /\p{L}/u.test(text) || /[\w--a]/v.test(text) };"
    await builder.build({"main.js": code}, "main.js")
    bundle = bundle_of(engine.asked[0])
    assert r'new RegExp("\\p{L}", "u")' in bundle
    assert r'new RegExp("[\\w--a]", "v")' in bundle


async def test_top_level_await_is_refused(builder: JavaScriptBuilder) -> None:
    [fault] = await faults(builder, {"main.js": "await 1;"})
    assert "Top-level await" in fault.message


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file beside the staging folder, as a function's author might guess it."""
    path = tmp_path / "secret.json"
    path.write_text('{"password": "hunter2"}')
    return path


@pytest.mark.parametrize(
    "source",
    [
        'import s from "SECRET"; export default s;',
        'import s from "../../secret.json"; export default s;',
        'import s from "./a/../../../secret.json"; export default s;',
        'export { password } from "../../secret";',
        'import s from "../../secret.json" with { type: "text" }; export default s;',
        'export default require("../../secret.json");',
        'export default import("../../secret.json");',
        'export default (n) => import("../../" + n + ".json");',
        "export default (n) => require(`../../${n}.json`);",
        'import s from "#secret"; export default s;',
        'import s from "linked"; export default s;',
        'import s from "../.."; export default s;',
    ],
)
async def test_no_import_reaches_a_file_outside(
    builder: JavaScriptBuilder, engine: Engine, secret: Path, source: str
) -> None:
    files = {
        "main.js": source.replace("SECRET", str(secret)),
        "package.json": '{"imports": {"#secret": "../../secret.json"}}',
        "node_modules/linked/package.json": '{"main": "../../../../secret.json"}',
    }
    found = await faults(builder, files)
    assert engine.asked == []
    assert all("hunter2" not in f"{fault} {fault.excerpt}" for fault in found)
    assert all(fault.file == "main.js" for fault in found)


async def test_a_refused_import_does_not_tell_whether_the_file_exists(builder: JavaScriptBuilder, secret: Path) -> None:
    [present] = await faults(builder, {"main.js": f'import "{secret}";'})
    [absent] = await faults(builder, {"main.js": f'import "{secret.with_name("nothing.json")}";'})
    assert present.message.replace("secret.json", "nothing.json") == absent.message


async def test_configuration_outside_has_no_say(builder: JavaScriptBuilder, tmp_path: Path) -> None:
    """A package, a package.json and a tsconfig.json in a folder above the staged files are as if not there."""
    above = tmp_path / "staging"
    (above / "node_modules" / "left-pad").mkdir(parents=True)
    (above / "node_modules" / "left-pad" / "index.js").write_text("export default 1")
    (above / "package.json").write_text('{"sideEffects": false, "imports": {"#x": "./main.js"}}')
    (above / "tsconfig.json").write_text("{ not json")
    [fault] = await faults(builder, {"main.js": 'import pad from "left-pad"; export default pad;'})
    assert 'Could not resolve "left-pad"' in fault.message
    built = await builder.build({"main.js": 'import "./effect.js";', "effect.js": "globalThis.x = 1;"}, "main.js")
    assert "globalThis.x = 1" in bundle_of(built.wasm)


async def test_a_tsconfig_among_the_files_is_not_followed(builder: JavaScriptBuilder, secret: Path) -> None:
    files = {"main.ts": "export default 1 as number;", "tsconfig.json": json.dumps({"extends": str(secret)})}
    built = await builder.build(files, "main.ts")
    assert built.warnings == ()


async def test_a_package_among_the_files_is_bundled(builder: JavaScriptBuilder) -> None:
    files = {
        "main.js": 'import pad from "left-pad"; export default pad;',
        "node_modules/left-pad/package.json": '{"main": "lib/pad.js"}',
        "node_modules/left-pad/lib/pad.js": "module.exports = 'padded';",
    }
    assert "padded" in bundle_of((await builder.build(files, "main.js")).wasm)


async def test_warnings_are_handed_on(builder: JavaScriptBuilder) -> None:
    built = await builder.build({"main.js": "export default (x) => x === NaN;"}, "main.js")
    [warning] = built.warnings
    assert (warning.file, warning.line) == ("main.js", 1)


async def test_a_refusal_of_the_engine_is_told_in_the_authors_lines(builder: JavaScriptBuilder, engine: Engine) -> None:
    def refuse(bundle: str) -> BundleRefusedError:
        before, _, _ = bundle.partition("explode(")
        column = len(before) - before.rfind("\n")
        return BundleRefusedError("ReferenceError: explode", line=before.count("\n") + 1, column=column)

    engine.refusal = refuse
    files = {"main.ts": 'import "./lib/bad";', "lib/bad.ts": "type A = 1;\n\n  const ü = explode() as A;\nüse(ü);"}
    [fault] = await faults(builder, files, "main.ts")
    assert str(fault) == "lib/bad.ts:3:13: fails to load: ReferenceError: explode"
    assert fault.excerpt == "  const ü = explode() as A;"


async def test_a_refusal_without_a_place_is_told_without_one(builder: JavaScriptBuilder, engine: Engine) -> None:
    engine.refusal = lambda _: BundleRefusedError("it exports no fetch handler")
    [fault] = await faults(builder, {"main.js": "1"})
    assert str(fault) == "fails to load: it exports no fetch handler"


async def test_nothing_is_left_behind(builder: JavaScriptBuilder, tmp_path: Path) -> None:
    await builder.build({"main.js": "1"}, "main.js")
    await faults(builder, {"main.js": "("})
    assert list((tmp_path / "staging").iterdir()) == []


async def test_a_cancelled_build_leaves_nothing_behind(tmp_path: Path) -> None:
    reached = asyncio.Event()

    class Stuck:
        async def check(self, _: bytes) -> None:
            reached.set()
            await asyncio.Event().wait()

    async with JavaScriptBuilder(settings(tmp_path, builds_max=1), Stuck()) as builder:
        builds: list[asyncio.Task[BuiltFunction]] = []
        async with asyncio.TaskGroup() as group:
            builds += [group.create_task(builder.build({"main.js": "1"}, "main.js")) for _ in range(3)]
            await reached.wait()
            for build in builds:
                build.cancel()
        assert all(build.cancelled() for build in builds)
        assert list((tmp_path / "staging").iterdir()) == []


async def test_a_bundle_beyond_the_limit_names_it(tmp_path: Path, engine: Engine) -> None:
    async with JavaScriptBuilder(settings(tmp_path, bundle_bytes_max=1000), engine) as builder:
        with pytest.raises(BuilderError, match="limit of 1000 bytes"):
            await builder.build({"main.js": f"globalThis.x = '{'x' * 2000}';"}, "main.js")


async def test_sources_that_find_no_room_are_told_with_the_reason(
    builder: JavaScriptBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    monkeypatch.setattr(sources, "staged", full)
    with pytest.raises(BuilderError) as raised:
        await builder.build({"main.js": "1"}, "main.js")
    assert raised.value.public == "the source files could not be staged: No space left on device"


async def test_unreadable_output_of_the_bundler_is_its_fault_not_the_authors(
    builder: JavaScriptBuilder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "broken.mjs"
    script.write_text("console.log('warming up')")
    monkeypatch.setattr(bundler, "SCRIPT", script)
    with pytest.raises(BuilderError, match="unreadable"):
        await builder.build({"main.js": "1"}, "main.js")


def test_missing_tools_are_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="node: nothing usable"):
        JavaScriptSettings(tmp_path / "node", ESBUILD, tmp_path)
