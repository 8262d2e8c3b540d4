"""Rules of this tree that no other tool knows. Each failure says what to do."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "skerry"

#: A module looks for a seam at 500 lines; beyond this it has to have found it.
MODULE_LINES_MAX = 700

ADR_PARTS = ("## Context", "## Decision", "## What we gave up")


def tracked(*patterns: str) -> list[Path]:
    """List files that git knows or would know, so that nothing built or installed is judged."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in output.split("\0") if name and (path := ROOT / name).is_file()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rooms() -> list[Path]:
    return sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())


def compiled_sources() -> list[Path]:
    """Return the modules that scripts/compile_host.py lists."""
    listed = ast.parse((ROOT / "scripts" / "compile_host.py").read_text())
    names = [each.value for each in ast.walk(listed) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return [PACKAGE / f"{name}.py" for name in names if name.startswith("engine/")]


def test_no_slice_of_a_compiled_module_holds_a_call() -> None:
    """The compiler has it made twice (docs/adr/0048-the-host-is-compiled-ahead-of-time.md): name its result before."""
    sources = compiled_sources()
    slices = (
        f"{name_of(source)}:{node.lineno} {ast.unparse(node)}"
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Slice) and any(isinstance(part, ast.Call) for part in ast.walk(node))
    )
    assert (list(slices), len(sources) > 20) == ([], True)


def test_no_function_of_a_compiled_module_has_one_within() -> None:
    """What it closes over was kept for good (ADR 0048): use a method, `partial`, or a function beside it."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    within = (
        f"{name_of(source)}:{inner.lineno} {inner.name}"
        for source in compiled_sources()
        for outer in ast.walk(ast.parse(source.read_text()))
        if isinstance(outer, functions)
        for inner in ast.walk(outer)
        if isinstance(inner, functions) and inner is not outer
    )
    assert list(within) == []


def test_modules_stay_short() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in tracked("*.py")}
    long = [f"{name} has {count} lines" for name, count in lines.items() if count > MODULE_LINES_MAX]
    assert not long, f"{', '.join(long)}: find the seam and make two modules of it"


def test_every_room_has_a_page() -> None:
    missing = [name_of(readme) for room in rooms() if not (readme := room / "README.md").is_file()]
    assert not missing, (
        f"{', '.join(missing)} missing: ten lines on purpose, entry point, invariant, how to test it alone"
    )


def test_every_package_says_what_it_is_for() -> None:
    packages = tracked("src/**/__init__.py")
    silent = [name_of(path) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent, f"{', '.join(silent)}: open it with a docstring of one sentence"


def test_no_test_sleeps() -> None:
    sleeping = [
        f"{name_of(path)}:{node.lineno}"
        for path in tracked("tests/**.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    ]
    assert not sleeping, f"{', '.join(sleeping)}: wait for a state, not for time (poll with a deadline, or an event)"


def test_time_limits_hold_in_tasks_that_are_being_cancelled() -> None:
    limited = [
        f"{name_of(path)}:{node.lineno}"
        for path in tracked("src/**.py", "bench/**.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"asyncio.timeout", "asyncio.timeout_at"}
    ]
    assert not limited, f"{', '.join(limited)}: use `within` of kit.deadlines, which says why"


def test_test_modules_lie_where_they_are_found() -> None:
    kinds = {"unit", "contract", "golden", "system", "wasm"}  # the last: programs that tests run
    places = {path.relative_to(ROOT / "tests"): path for path in tracked("tests/**.py")}
    lost = [name_of(path) for place, path in places.items() if place.parts[0] not in kinds | {"conftest.py"}]
    assert not lost, f"{', '.join(lost)}: move into one of tests/{{{','.join(sorted(kinds))}}}"
    packages = [name_of(path) for path in places.values() if path.name == "__init__.py"]
    assert not packages, f"remove {', '.join(packages)}: tests are no packages (importmode=importlib)"


@pytest.mark.parametrize("path", tracked("requirements*.lock", "*package-lock.json"), ids=name_of)
def test_lock_files_name_no_machine_and_no_index(path: Path) -> None:
    found = re.search(r'file:/|--(extra-)?index-url|--find-links|^\S+ @ |"resolved":|/(home|root|opt|tmp|work)/',
                      path.read_text(), re.MULTILINE)  # fmt: skip
    fix = "`make lock`" if path.suffix == ".lock" else "`npm install --omit-lockfile-registry-resolved`"
    assert not found, f"{name_of(path)} holds {found[0]!r}: make it again with {fix}"


@pytest.mark.parametrize("path", tracked("*package-lock.json"), ids=name_of)
def test_package_locks_hold_the_packages_of_every_platform(path: Path) -> None:
    packages = json.loads(path.read_text())["packages"]
    present = {place.rpartition("node_modules/")[2] for place in packages}
    missing = {name for entry in packages.values() for name in entry.get("optionalDependencies", {})} - present
    assert not missing, (
        f"{name_of(path)} lacks {', '.join(sorted(missing))}, so `npm ci` refuses it: "
        f"run scripts/complete_package_lock.py {name_of(path)}"
    )


def test_every_dependency_is_locked() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    [dependencies] = re.findall(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    wanted = {name.lower() for name in re.findall(r'"([\w.-]+)', dependencies)}
    locked = {
        name.lower() for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    }
    assert wanted <= locked, f"{', '.join(sorted(wanted - locked))} missing in requirements.lock: run `make lock`"


def test_links_in_documents_lead_somewhere() -> None:
    dead = [
        f"{name_of(path)} links to {target}"
        for path in tracked("*.md")
        for target in local_links(path.read_text())
        if not (path.parent / target).exists()
    ]
    assert not dead, f"{', '.join(dead)}: no such file; correct or remove the link"


def local_links(markdown: str) -> Iterator[str]:
    """Yield the files that a document links to; code blocks and addresses elsewhere are left out."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", markdown, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", prose, re.MULTILINE):
        link = "".join(target).partition("#")[0]
        if link and "://" not in link and not link.startswith("mailto:"):
            yield link


@pytest.mark.parametrize("path", tracked("docs/adr/*.md"), ids=name_of)
def test_a_decision_is_numbered_and_has_its_three_parts(path: Path) -> None:
    if path.name == "README.md":
        return
    match = re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", path.name)
    assert match, f"{name_of(path)}: name it NNNN-title-in-lower-case.md"
    text = path.read_text()
    assert text.startswith(f"# {match[1]}: "), f"{name_of(path)}: open it with '# {match[1]}: ' and its title"
    missing = [part for part in ADR_PARTS if part not in text]
    assert not missing, f"{name_of(path)}: add {', '.join(missing)}"


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [path.name[:4] for path in tracked("docs/adr/[0-9]*.md")]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    assert not twice, f"docs/adr: {', '.join(twice)} given twice; the later one takes the next free number"


def test_the_files_that_the_tests_begin_with_are_there() -> None:
    missing = [file for file in LONGEST if not (ROOT / file).is_file()]
    assert not missing, f"tests/conftest.py: correct {', '.join(missing)} in LONGEST"
