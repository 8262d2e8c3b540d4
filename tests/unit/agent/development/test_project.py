import hashlib
from pathlib import Path
from typing import Any

import pytest

from skerry.agent.development.project import Wishes, read_egress_policies, read_project, read_sources, read_variables
from skerry.kit.errors import ConfigurationError

HEAD = "apiVersion: extensions.apoxy.dev/v1alpha2\nkind: EdgeFunction\n"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def source_of(folder: Path, **wishes: Any) -> Any:
    return read_project(folder, Wishes(**wishes)).spec.template.code.js_source


def test_sources_are_read_and_installed_or_hidden_ones_are_not(tmp_path: Path):
    for path in (
        "index.ts",
        "lib/a.js",
        "node_modules/x/index.js",
        ".git/config.js",
        "README.md",
        "a.png",
        "b.json",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"// {path}")
    assert sorted(read_sources(tmp_path)) == ["b.json", "index.ts", "lib/a.js"]


def test_an_empty_file_is_there_to_be_imported(tmp_path: Path):
    write(tmp_path, **{"index.js": 'import "./types.js"', "types.js": ""})
    source = read_project(tmp_path, Wishes(name="a")).spec.template.code.js_source
    assert source is not None
    assert source.assets is not None
    assert [file.path for file in source.assets.files if file.content.isspace()] == ["types.js"]


def test_the_entrypoint_comes_from_package_json_before_any_guess(tmp_path: Path):
    write(tmp_path, **{"index.js": "1", "app.js": "1", "package.json": '{"main": "./app.js"}'})
    function = read_project(tmp_path, Wishes(name="a", env={"K": "v"}, timeout="2s"))
    source = function.spec.template.code.js_source
    assert source is not None
    assert source.entrypoint == "app.js"
    assert function.spec.template.timeout_seconds == 2.0


def test_a_folder_without_sources_or_entrypoint_says_what_was_looked_for(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="holds no source file"):
        read_sources(tmp_path)
    (tmp_path / "other.js").write_text("1")
    with pytest.raises(ConfigurationError, match=r"no entrypoint found \(looked for index.ts.*give --entrypoint"):
        read_project(tmp_path, Wishes())


def test_egress_policies_are_read_any_number_a_file_and_nothing_else_beside_them(tmp_path: Path):
    policy = "apiVersion: extensions.skerry.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: %s}\nspec: {%s}\n"
    write(tmp_path, **{"two.yaml": policy % ("a", "functions: [f]") + "---\n" + policy % ("b", "defaultAction: Deny")})
    assert [each.name for each in read_egress_policies([tmp_path / "two.yaml"])] == ["a", "b"]
    for text, told in (
        (HEAD, "must hold EgressPolicy of extensions.skerry.dev/v1alpha1 alone"),
        (policy % ("a", "allow: [{cidrs: [here]}]"), "spec.allow"),
        (policy % ("a", "alow: []"), "unknown fields spec.alow"),
        ("a: [", "not valid YAML"),
    ):
        write(tmp_path, **{"wrong.yaml": text})
        with pytest.raises(ConfigurationError, match=told):
            read_egress_policies([tmp_path / "wrong.yaml"])


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path):
    write(tmp_path, **{"out.json": "{}", "fn__index.js": "1"})
    (tmp_path / "fn" / "linked.json").symlink_to(tmp_path / "out.json")
    with pytest.raises(ConfigurationError, match="leads out"):
        read_sources(tmp_path / "fn")


def test_the_manifest_gives_what_the_source_does_not_say_and_the_command_line_wins(tmp_path: Path):
    manifest = (
        f"{HEAD}metadata: {{name: greeter}}\nspec:\n  template:\n"
        "    env: [{name: A, value: a}, {name: B, value: b}]\n"
        "    code: {jsSource: {entrypoint: fn.js}}\n    runtime: {timeout: 5s}\n"
    )
    write(tmp_path, **{"index.js": "1", "fn.js": "1", "edgefunction.yaml": manifest})
    function = read_project(tmp_path, Wishes(env={"B": "mine", "C": "c"}))
    assert function.name == "greeter"
    template = function.spec.template
    assert {v.name: v.value for v in template.env or ()} == {"A": "a", "B": "mine", "C": "c"}
    assert template.timeout_seconds == 5.0
    assert template.code.js_source is not None
    assert template.code.js_source.entrypoint == "fn.js"
    assert source_of(tmp_path, entrypoint="index.js").entrypoint == "index.js"
    assert read_project(tmp_path, Wishes(name="other")).name == "other"


def test_a_source_elsewhere_is_left_as_it_is(tmp_path: Path):
    git = "{repository: https://git.example/a}"
    write(
        tmp_path,
        **{
            "edgefunction.yaml": f"{HEAD}spec: {{template: {{code: {{jsSource: {{entrypoint: i.js, git: {git}}}}}}}}}",
        },
    )
    source = source_of(tmp_path, name="a")
    assert source.assets is None
    assert source.git.repository == "https://git.example/a"


def test_a_binary_of_the_folder_is_named_by_its_path_and_content(tmp_path: Path):
    manifest = f"{HEAD}spec: {{template: {{code: {{wasmSource: {{url: ./build/fn.wasm}}}}}}}}"
    write(tmp_path, **{"edgefunction.yaml": manifest})
    with pytest.raises(ConfigurationError, match="build it first"):
        read_project(tmp_path, Wishes(name="a"))
    write(tmp_path, **{"build__fn.wasm": "wasm"})
    code = read_project(tmp_path, Wishes(name="a")).spec.template.code
    assert code.wasm_source is not None
    digest = hashlib.sha256(b"wasm").hexdigest()
    assert code.wasm_source.url == f"file://{(tmp_path / 'build' / 'fn.wasm').resolve()}#sha256={digest}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not valid YAML"),
        ("[]", "must hold one EdgeFunction"),
        ("kind: Secret", "must hold one EdgeFunction"),
        (f"{HEAD}spec: 1", "spec must be an object"),
        (f"{HEAD}spec: {{template: {{mode: sideways}}}}", "mode"),
        (f"{HEAD}spec: {{template: {{tiemout: 3s}}}}", "unknown fields"),
    ],
)
def test_a_manifest_that_does_not_fit_is_told(tmp_path: Path, text: str, expected: str):
    write(tmp_path, **{"index.js": "1", "edgefunction.yaml": text})
    with pytest.raises(ConfigurationError, match=expected):
        read_project(tmp_path, Wishes(name="a"))


def test_variables_of_development_are_lines(tmp_path: Path):
    assert read_variables(tmp_path) == {}
    write(tmp_path, **{".dev.vars": "# a comment\nA=1\n\nB = \"two words\"\nC='3'\nD=a=b\nE=\n"})
    assert read_variables(tmp_path) == {"A": "1", "B": "two words", "C": "3", "D": "a=b", "E": ""}
    write(tmp_path, **{".dev.vars": "A=1\nno value\n"})
    with pytest.raises(ConfigurationError, match=r"\.dev\.vars:2: must be NAME=VALUE"):
        read_variables(tmp_path)
