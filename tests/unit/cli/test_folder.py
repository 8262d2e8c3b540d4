from pathlib import Path

import pytest

from skerry.cli.folder import function_from_folder, read_sources
from skerry.kit.errors import ConfigurationError


def test_sources_are_read_and_installed_or_hidden_ones_are_not(tmp_path: Path):
    for path in ("index.ts", "lib/a.js", "node_modules/x/index.js", ".git/config.js", "notes.md", "data.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"// {path}")
    assert sorted(read_sources(tmp_path)) == ["data.json", "index.ts", "lib/a.js"]


def test_the_entrypoint_comes_from_package_json_before_any_guess(tmp_path: Path):
    (tmp_path / "index.js").write_text("1")
    (tmp_path / "app.js").write_text("1")
    (tmp_path / "package.json").write_text('{"main": "./app.js"}')
    function = function_from_folder(tmp_path, name="a", entrypoint=None, env={"K": "v"}, timeout="2s")
    source = function.spec.template.code.js_source
    assert source is not None
    assert source.entrypoint == "app.js"
    assert function.spec.template.timeout_seconds == 2.0


def test_a_folder_without_sources_or_entrypoint_says_what_was_looked_for(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="holds no source file"):
        read_sources(tmp_path)
    (tmp_path / "other.js").write_text("1")
    with pytest.raises(ConfigurationError, match=r"no entrypoint found \(looked for index.ts.*give --entrypoint"):
        function_from_folder(tmp_path, name="a", entrypoint=None, env={}, timeout=None)
