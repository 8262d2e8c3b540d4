"""Functions from git repositories, packages and images, on a whole Skerry: real git, npm, and registries."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.git_repository import SUBMODULE, Entry, Repository, git_server, make_repository
from skerry.testing.images import cncf_artifact, docker_image
from skerry.testing.npm_registry import NpmPackage, NpmRegistry, configured_registry, npm_registry
from skerry.testing.registry_process import PASSWORD, USERNAME, RegistryProcess
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until
from tests.system.conftest import greeter

HELLO = {
    "functions/hello/src/index.ts": 'import odd from "is-odd";\nimport { word } from "./word";\n'
    "export default { fetch: (_: Request): Response => new Response(`${word} ${odd(3)}`) };",
    "functions/hello/src/word.ts": 'export const word: string = "first";',
    "functions/hello/package.json": '{"dependencies": {"is-odd": "^3.0.0"}}',
    "README.md": "# a repository of many functions",
}
PACKAGED = (
    'import odd from "is-odd";\nexport default { fetch: (_, env) => new Response(`packed ${odd(2)} ${env.WORD}`) };'
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return make_repository(tmp_path_factory.mktemp("git") / "many", [HELLO])


@pytest.fixture(scope="module")
def git_url(repository: Repository) -> Iterator[str]:
    with git_server({"/many": repository}, password="hunter2") as base:
        yield f"{base}/many"


@pytest.fixture(scope="module")
def registry() -> Iterator[NpmRegistry]:
    """Packages of our own beside all those of the registry that npm is configured for here."""
    packages = [
        NpmPackage("@skerry/packed", "1.0.0", {"dist/fn.js": PACKAGED}, {"is-odd": "^3.0.0"}),
        NpmPackage("@skerry/packed", "1.1.0", {"dist/fn.js": PACKAGED}, {"is-odd": "^3.0.0"}),
    ]
    with npm_registry(packages, upstream=configured_registry()) as running:
        yield running


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry that asks for a password."""
    with RegistryProcess.started(tmp_path_factory.mktemp("registry"), password=True) as running:
        yield running


@pytest.fixture(scope="module")
def skerry(
    tmp_path_factory: pytest.TempPathFactory,
    cache_dir: Path,
    git_url: str,
    repository: Repository,
    registry: NpmRegistry,
    images: RegistryProcess,
) -> Iterator[SkerryProcess]:
    data_dir = tmp_path_factory.mktemp("skerry") / "data"
    data_dir.mkdir()
    git_host = git_url.split("/")[2]
    docker_config = data_dir.parent / "docker.json"
    credentials = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    docker_config.write_text(json.dumps({"auths": {images.host: {"auth": credentials}}}))
    (data_dir / "skerry.toml").write_text(
        f'npm_registry = "{registry.url}"\ninsecure_registries = ["{git_host}", "{images.host}"]\n'
        f'fetch_file_dirs = ["{repository.path.parent}"]\ndocker_config = "{docker_config}"\n'
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "git", "namespace": "default"},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": "git", "password": "hunter2"},
    }
    with SkerryProcess.started(data_dir, cache_dir=cache_dir) as running:
        running.apply(json.dumps(secret))
        yield running


def apply(skerry: SkerryProcess, name: str, source: dict[str, Any], *, of: str = "jsSource", **template: Any) -> None:
    document = {
        "apiVersion": "extensions.apoxy.dev/v1alpha2",
        "kind": "EdgeFunction",
        "metadata": {"name": name},
        "spec": {"template": {"code": {of: source}, **template}},
    }
    skerry.apply(json.dumps(document))


def wait(skerry: SkerryProcess, name: str) -> None:
    skerry.until_ready(f"edgefunction/{name}")


def live(skerry: SkerryProcess, name: str) -> dict[str, Any]:
    function = json.loads(skerry.kubectl("get", "ef", name, "-o", "json"))
    revision = function["status"]["liveRevision"]
    found: dict[str, Any] = json.loads(skerry.kubectl("get", "efr", revision, "-o", "json"))
    return found


def from_git(url: str, **more: Any) -> dict[str, Any]:
    reference = {"name": "git", "namespace": "default"}
    git = {"repository": url, "directory": "functions/hello", "credentialsRef": reference, **more}
    return {"entrypoint": "src/index.ts", "git": git}


def test_a_function_of_a_private_repository_is_served_and_names_what_it_was_made_of(
    skerry: SkerryProcess, repository: Repository, git_url: str
):
    apply(skerry, "from-git", from_git(git_url))
    wait(skerry, "from-git")
    assert skerry.get("http://from-git.functions.localhost/").text == "first true"
    revision = live(skerry, "from-git")
    assert revision["status"]["source"]["commit"] == repository.commits[0]
    assert revision["status"]["source"]["lock"].startswith("sha256:")
    [ready] = [each for each in revision["status"]["conditions"] if each["type"] == "Ready"]
    assert "there is no package-lock.json" in ready["message"]


def test_a_revision_stays_at_its_commit_and_another_commit_is_another_revision(
    skerry: SkerryProcess, repository: Repository
):
    url = f"file://{repository.path}"
    apply(skerry, "stays", from_git(url))
    wait(skerry, "stays")
    artifact = live(skerry, "stays")["status"]["artifact"]
    moved = repository.commit({**HELLO, "functions/hello/src/word.ts": 'export const word = "second";'})
    digest = artifact["digest"].removeprefix("sha256:")
    path = skerry.data_dir / "artifacts" / "sha256" / digest[:2] / digest
    path.unlink()
    skerry.kubectl("annotate", "ef", "stays", "looked=again")
    until(path.exists)
    assert live(skerry, "stays")["status"]["artifact"] == artifact
    assert skerry.get("http://stays.functions.localhost/").text == "first true"

    apply(skerry, "stays", from_git(url, commit=moved))
    wait(skerry, "stays")
    assert skerry.get("http://stays.functions.localhost/").text == "second true"


def test_a_repository_that_cannot_be_a_function_is_told_in_the_conditions(
    skerry: SkerryProcess, repository: Repository, git_url: str
):
    repository.commit({**HELLO, "functions/hello/vendor": Entry(b"a" * 40, SUBMODULE)}, branch="with-submodule")
    apply(skerry, "submodule", from_git(git_url, branch="with-submodule"))
    skerry.kubectl("wait", "--for=condition=Latest=False", "ef/submodule", "--timeout=60s")
    skerry.kubectl(
        "wait", "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Failed", "ef/submodule", "--timeout=60s"
    )
    told = skerry.kubectl("get", "ef", "submodule", "-o", "jsonpath={.status.conditions[*].message}")
    assert "functions/hello/vendor is a submodule, which is not fetched: put its files into the repository" in told


def test_a_wrong_password_is_told_and_never_shown(skerry: SkerryProcess, git_url: str):
    wrong = {"username": "git", "password": "hunter3"}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "stringData": wrong}
    skerry.kubectl(
        "apply", "-f", "-", stdin=json.dumps({**secret, "metadata": {"name": "wrong", "namespace": "default"}})
    )
    apply(skerry, "wrong", from_git(git_url, credentialsRef={"name": "wrong", "namespace": "default"}))
    skerry.kubectl(
        "wait", "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Retrying", "ef/wrong", "--timeout=60s"
    )
    told = skerry.kubectl("get", "ef,efr", "-o", "yaml")
    assert "(401): are the URL and the secret right?" in told
    assert "hunter" not in told + skerry.output()
    skerry.kubectl("delete", "ef", "wrong")


def test_a_function_of_a_package_is_served_with_what_it_depends_on(skerry: SkerryProcess):
    source = {"entrypoint": "dist/fn.js", "npm": {"package": "@skerry/packed", "version": "^1.0.0"}}
    apply(skerry, "from-npm", source, env=[{"name": "WORD", "value": "up"}])
    wait(skerry, "from-npm")
    assert skerry.get("http://from-npm.functions.localhost/").text == "packed false up"
    assert live(skerry, "from-npm")["status"]["source"]["version"] == "1.1.0"


@pytest.mark.parametrize(
    ("name", "npm", "entrypoint", "expected"),
    [
        ("no-package", {"package": "@skerry/nope"}, ".", "the npm registry has no package @skerry/nope"),
        ("no-function", {"package": "is-odd"}, "index.js", "the bundle has no handler"),
    ],
)
def test_a_package_that_is_no_function_is_told(
    skerry: SkerryProcess, name: str, npm: dict[str, str], entrypoint: str, expected: str
):
    apply(skerry, name, {"entrypoint": entrypoint, "npm": npm})
    skerry.kubectl(
        "wait", "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Failed", f"ef/{name}", "--timeout=60s"
    )
    conditions = json.loads(skerry.kubectl("get", "ef", name, "-o", "json"))["status"]["conditions"]
    assert any(expected in condition["message"] for condition in conditions)


def test_a_program_from_a_private_registry_stays_what_it_was_until_its_url_changes(
    skerry: SkerryProcess, images: RegistryProcess
):
    first, second = (cncf_artifact(greeter("one")), docker_image(greeter("two")))
    place = f"oci://{images.host}/programs/greeter:v1"
    images.push("programs/greeter", "v1", first)
    apply(skerry, "from-image", {"url": place}, of="wasmSource")
    wait(skerry, "from-image")
    assert skerry.get("http://from-image.functions.localhost/").text == "one"
    revision = live(skerry, "from-image")["metadata"]["name"]
    images.push("programs/greeter", "v1", second)
    skerry.kubectl("annotate", "ef", "from-image", "looked=again")
    assert live(skerry, "from-image")["metadata"]["name"] == revision
    apply(skerry, "from-image", {"url": f"{place}#sha256={second.digest}"}, of="wasmSource")
    wait(skerry, "from-image")
    assert skerry.get("http://from-image.functions.localhost/").text == "two"


def test_an_image_that_can_not_be_had_or_is_another_one_is_told(skerry: SkerryProcess, images: RegistryProcess):
    images.push("programs/other", "v1", cncf_artifact(greeter("other")))
    place = f"oci://{images.host}/programs/other:v1"
    expected = {
        "absent": (f"oci://{images.host}/programs/absent:v1", f"has no {images.host}/programs/absent:v1"),
        "unlike": (f"{place}#sha256={'0' * 64}", "sha256"),
    }
    for name, (url, _) in expected.items():
        apply(skerry, name, {"url": url}, of="wasmSource")
    for name, (_, told) in expected.items():
        skerry.kubectl("wait", "--for=condition=Latest=False", f"ef/{name}", "--timeout=60s")
        until(lambda name=name, told=told: told in skerry.kubectl("get", "ef", name, "-o", "yaml"))  # type: ignore[misc]
        skerry.kubectl("delete", "ef", name)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"git": {"repository": "git@example.com:a/b"}}, "git.repository"),
        ({"git": {"repository": "ssh://example.com/a"}}, "git.repository"),
        ({"git": {"repository": "https://user:word@example.com/a"}}, "git.repository"),
        ({"git": {"repository": "https://example.com/a", "commit": "abc"}}, "git.commit"),
        ({"git": {"repository": "https://example.com/a", "directory": "../x"}}, "git.directory"),
        ({"npm": {"package": "../x"}}, "npm.package"),
        ({"npm": {"package": "a", "version": "file:.."}}, "npm.version"),
    ],
)
def test_bad_input_is_refused_by_its_field(skerry: SkerryProcess, source: dict[str, Any], expected: str):
    document = {
        "apiVersion": "extensions.apoxy.dev/v1alpha2",
        "kind": "EdgeFunction",
        "metadata": {"name": "bad"},
        "spec": {"template": {"code": {"jsSource": {"entrypoint": "index.js", **source}}}},
    }
    assert f"jsSource.{expected}" in skerry.kubectl("apply", "-f", "-", stdin=json.dumps(document), fails=True)
