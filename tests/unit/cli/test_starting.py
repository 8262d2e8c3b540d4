from pathlib import Path

import pytest

from skerry.agent.development.project import Wishes, read_project
from skerry.cli.starting import LANGUAGES, function_name, write_template
from skerry.kit.errors import ConfigurationError


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_manifest_a_page_and_no_mark_left(tmp_path: Path, language: str) -> None:
    written = write_template(language, tmp_path / "My Function")
    assert all(new for _, new in written)
    names = {path.name for path, _ in written}
    assert {"edgefunction.yaml", "README.md", ".gitignore"} <= names
    for path, _ in written:
        assert "{{" not in path.read_text().replace("${{", ""), path


@pytest.mark.parametrize("language", ["ts", "js"])
def test_what_needs_no_building_is_a_function_as_it_stands(tmp_path: Path, language: str) -> None:
    write_template(language, tmp_path / "hello")
    function = read_project(tmp_path / "hello", Wishes())
    assert function.name == "hello"


@pytest.mark.parametrize("language", ["rust", "go", "python"])
def test_what_has_to_be_built_says_so(tmp_path: Path, language: str) -> None:
    write_template(language, tmp_path / "hello")
    with pytest.raises(ConfigurationError, match="build it first"):
        read_project(tmp_path / "hello", Wishes())


def test_the_module_of_a_go_program_has_a_path_that_go_takes_whatever_the_folder_is_called(tmp_path: Path) -> None:
    write_template("go", tmp_path / "go")  # a name of Go's own, as std and toolchain are
    assert (tmp_path / "go" / "go.mod").read_text().startswith("module example.com/go\n")


def test_files_that_exist_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "index.ts").write_text("mine")
    written = dict(write_template("ts", tmp_path))
    assert written[tmp_path / "src" / "index.ts"] is False
    assert (tmp_path / "src" / "index.ts").read_text() == "mine"
    assert not any(new for _, new in write_template("ts", tmp_path))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be written"):
        write_template("js", tmp_path / "file")


@pytest.mark.parametrize(
    ("folder", "name"), [("Hello World", "hello-world"), ("a_b.c", "a-b-c"), ("7", "fn-7"), ("", "fn"), ("é", "fn")]
)
def test_a_folders_name_becomes_a_functions(folder: str, name: str) -> None:
    assert function_name(folder) == name


def test_the_world_of_the_python_template_is_the_documented_one(tmp_path: Path) -> None:
    write_template("python", tmp_path)
    documented = Path(__file__).parents[3] / "docs" / "reference" / "wit" / "skerry-function.wit"
    assert (tmp_path / "wit" / "skerry-function.wit").read_text() == documented.read_text()
