"""Starts as users make them, and starts that are refused before anything runs."""

from pathlib import Path

import pytest

from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system


def test_serve_by_its_command_is_ready_when_it_says_so_and_ends_as_it_is_told(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir, command="serve", anew=True) as skerry:
        skerry.until_printed("ready")
        with skerry.api_client() as client:
            assert client.get("/readyz").text == "ok"
            assert client.get("/api/v1/namespaces/default").json()["metadata"]["name"] == "default"
        assert skerry.stop() == 0


@pytest.mark.parametrize("command", ["up", "serve", "dev"])
def test_an_engine_component_of_another_contract_is_refused_with_the_file_and_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    component = tmp_path / "engine" / "dist" / "skerry-js-engine.wasm"
    component.parent.mkdir(parents=True)
    component.write_bytes(b"\0asm\1\0\0\0\0\x20\x0fskerry:contract" + b"0" * 16)
    monkeypatch.setenv("SKERRY_JS_ENGINE_DIR", str(component.parents[1]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.js").write_text("export default {fetch: () => new Response('never')};")
    flags = () if command == "dev" else ("--api-address", "127.0.0.1:0")
    told = SkerryProcess(tmp_path / "data").skerry(command, *flags, fails=True)
    assert told == (
        f"error: the JavaScript engine component {component} is older or newer than this code: run `make js-engine` to "
        "build it again\n"
    )
