from pathlib import Path

import pytest

from skerry.artifacts import sources
from skerry.artifacts.errors import BuildError


def faults(files: dict[str, str], entrypoint: str = "main.js") -> list[str]:
    with pytest.raises(BuildError) as raised:
        sources.check(files, entrypoint)
    return [str(fault) for fault in raised.value.diagnostics]


@pytest.mark.parametrize(
    "path",
    ["../x.js", "/etc/x.js", "a/../../x.js", "a/../b.js", "./x.js", "a//b.js", "", "a/", "..", "a\\..\\b.js",
     "C:\\x.js", "a\0b.js", "a\nb.js", "x" * 256, "d/" * 600 + "x.js"],
)  # fmt: skip
def test_a_path_that_could_leave_the_folder_is_refused(path: str) -> None:
    [fault] = faults({"main.js": "", path: ""})
    assert "give a plain relative path such as src/main.ts" in fault


@pytest.mark.parametrize("path", ["src/main.ts", "a.b/c-d_e.js", "..hidden.js", "...", "naïve.js", "with space.js"])
def test_a_plain_relative_path_is_accepted(path: str) -> None:
    sources.check({path: ""}, path)


def test_the_entrypoint_must_be_one_of_the_files() -> None:
    assert faults({"b.js": "", "a.js": ""}) == ['the entrypoint "main.js" is none of the files: a.js, b.js']
    assert "and 5 more" in faults({f"{n:02}.js": "" for n in range(25)})[0]
    assert faults({}) == ['the entrypoint "main.js" is none of the files: none']


def test_a_file_cannot_be_a_folder_too() -> None:
    assert faults({"main.js": "", "lib": "", "lib/a.js": ""}) == ["lib: is a file and also a folder of other files"]


def test_limits_are_named() -> None:
    assert "limit of 5000 files" in faults({"main.js": "", **{f"{n}.js": "" for n in range(5000)}})[0]
    assert "limit of 16777216 bytes" in faults({"main.js": "é" * (8 * 1024 * 1024 + 1)})[0]


def test_every_fault_is_told_at_once() -> None:
    assert len(faults({"../a": "", "/b": "", "c.js": "\ud800"})) == 4


def test_staged_files_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    with sources.staged({"src/a.js": "é\r\n"}, tmp_path) as root:
        assert (root / "src" / "a.js").read_bytes() == "é\r\n".encode()
        assert (root / "package.json").is_file()
        assert root.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_a_package_json_of_the_function_is_kept(tmp_path: Path) -> None:
    with sources.staged({"package.json": '{"type":"module"}'}, tmp_path) as root:
        assert (root / "package.json").read_text() == '{"type":"module"}'


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "build-old" / "src").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    sources.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
