import json
from typing import Any

import pytest

from skerry.artifacts.errors import BuildError
from skerry.artifacts.npm.lock import dependencies_of, manifest_of, packages_of

SHA512 = "sha512-" + "A" * 86 + "=="
ENTRY = {"version": "1.0.0", "integrity": SHA512}


def manifest(**fields: Any) -> dict[str, str]:
    return {"package.json": json.dumps(fields)}


def lock(entries: dict[str, Any], *, version: int = 3, **dependencies: str) -> str:
    return json.dumps({"lockfileVersion": version, "packages": {"": {"dependencies": dependencies}, **entries}})


def test_dependencies_are_those_of_the_package_json() -> None:
    wanted = {"hono": "^4", "@scope/a": "1.x || >=2.5.0 <3", "tagged": "latest", "any": "", "alias": "npm:real@^1"}
    assert dependencies_of(manifest(dependencies=wanted, devDependencies={"x": "file:.."})) == wanted
    assert dependencies_of({}) == {}
    assert dependencies_of(manifest(name="x")) == {}


@pytest.mark.parametrize(
    "version",
    ["git+https://example.com/x.git", "https://example.com/x.tgz", "file:../../etc", "link:..", "user/repository",
     "workspace:*", "npm:../x", 1],
)  # fmt: skip
def test_a_dependency_from_elsewhere_than_the_registry_is_refused(version: Any) -> None:
    with pytest.raises(BuildError, match="a package of the registry"):
        dependencies_of(manifest(dependencies={"x": version}))


@pytest.mark.parametrize("name", ["../x", "a/b", "@a/b/c", "UPPER", ""])
def test_a_dependency_with_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(BuildError, match="has a name that no package"):
        dependencies_of(manifest(dependencies={name: "1"}))


@pytest.mark.parametrize("text", ["{", "[]", '{"dependencies": [1]}', "[" * 100_000])
def test_what_is_no_package_json_is_told(text: str) -> None:
    with pytest.raises(BuildError, match=r"package\.json: "):
        dependencies_of({"package.json": text})


def test_npm_is_told_the_dependencies_and_nothing_else() -> None:
    files = manifest(
        dependencies={"a": "1"}, scripts={"install": "evil"}, workspaces=["../*"], overrides={"b": "2"}, bin="x"
    )
    told = manifest_of({"a": "1"}, files)
    assert told == {
        "name": "function", "version": "0.0.0", "private": True, "dependencies": {"a": "1"}, "overrides": {"b": "2"}
    }  # fmt: skip


@pytest.mark.parametrize("overrides", [{"b": "file:.."}, {"b": {"c": "1"}}, []])
def test_overrides_of_another_kind_are_refused(overrides: Any) -> None:
    if overrides:
        with pytest.raises(BuildError, match="overrides must map"):
            manifest_of({}, manifest(overrides=overrides))


def test_a_lock_lists_what_running_needs() -> None:
    entries = {
        "node_modules/a": {**ENTRY, "resolved": "https://registry.example/a/-/a-1.0.0.tgz"},
        "node_modules/a/node_modules/@s/b": ENTRY,
        "node_modules/alias": {**ENTRY, "name": "@real/c"},
        "node_modules/tool": {**ENTRY, "dev": True},
        "node_modules/native": {**ENTRY, "optional": True, "cpu": ["x64"]},
    }
    packages = packages_of(lock(entries, a="^1"), {"a": "^1"})
    assert [(p.place, p.name) for p in packages] == [
        ("node_modules/a", "a"),
        ("node_modules/a/node_modules/@s/b", "@s/b"),
        ("node_modules/alias", "@real/c"),
    ]
    assert packages[0].resolved.endswith("a-1.0.0.tgz")
    assert packages[0].sha512 == bytes(64)


@pytest.mark.parametrize(
    ("place", "entry", "expected"),
    [
        ("node_modules/a", {**ENTRY, "link": True, "resolved": "../../etc"}, "is a link to a folder"),
        ("node_modules/a", {**ENTRY, "resolved": "git+ssh://git@example.com/a.git#1"}, "is not from a registry"),
        ("node_modules/a", {**ENTRY, "resolved": "file:a.tgz"}, "is not from a registry"),
        ("node_modules/a", {"version": "1.0.0"}, "has no sha512"),
        ("node_modules/a", {"version": "1.0.0", "integrity": "sha1-xxxx"}, "has no sha512"),
        ("node_modules/a", {"version": "1.0.0", "integrity": "sha512-%%%"}, "has no sha512"),
        ("node_modules/../../../etc", ENTRY, "is no place of a package"),
        ("node_modules/..", ENTRY, "is no place of a package"),
        ("/etc", ENTRY, "is no place of a package"),
        ("packages/a", ENTRY, "is no place of a package"),
        ("node_modules/a", {**ENTRY, "version": "../../x"}, "has no name and version"),
        ("node_modules/a", {**ENTRY, "name": "../x"}, "has no name and version"),
    ],
)
def test_a_lock_that_leads_elsewhere_is_refused(place: str, entry: dict[str, Any], expected: str) -> None:
    with pytest.raises(BuildError, match=expected):
        packages_of(lock({place: entry}), {})


def test_a_lock_of_other_dependencies_is_refused() -> None:
    with pytest.raises(BuildError, match=r"is not that of package\.json: run npm install"):
        packages_of(lock({}, a="^1"), {"a": "^2"})


@pytest.mark.parametrize("text", ["{", "[]", "{}", lock({}, version=1), lock({"node_modules/a": 1})])
def test_what_is_no_lock_is_told(text: str) -> None:
    with pytest.raises(BuildError, match=r"package-lock\.json: "):
        packages_of(text, {})


def test_more_packages_than_the_limit_are_refused() -> None:
    with pytest.raises(BuildError, match="limit of 1000 packages"):
        packages_of(lock({f"node_modules/p{n}": ENTRY for n in range(1001)}), {})
