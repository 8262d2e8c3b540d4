"""Real repositories behind a real git server, honest and hostile ones."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.api.apoxy_function_code import repository_place
from skerry.artifacts.errors import BuildError, FetchError
from skerry.artifacts.fetching.credentials import Credentials
from skerry.artifacts.fetching.http import HttpClient
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.git import repositories
from skerry.artifacts.git.repositories import GitRepositories, GitSource
from skerry.testing.git_repository import (
    SUBMODULE,
    SYMBOLIC_LINK,
    Entry,
    Files,
    Repository,
    git_server,
    make_repository,
)

FIRST: Files = {"index.js": "1"}
SECOND: Files = {"index.js": "2", "lib/a.ts": "export {}", "logo.png": b"\x89PNG\xff"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return make_repository(tmp_path / "repositories" / "hello", [FIRST, SECOND])


@pytest.fixture
def url(repository: Repository) -> Iterator[str]:
    with git_server({"/hello": repository}) as base:
        yield f"{base}/hello"


@pytest.fixture
async def git(tmp_path: Path) -> AsyncIterator[GitRepositories]:
    settings = FetchSettings(attempts_max=1, file_dirs=(tmp_path / "repositories",))
    async with HttpClient(settings) as http:
        yield GitRepositories(http, settings)


def source(url: str | Path, **more: Any) -> GitSource:
    return GitSource(repository_place(str(url) if isinstance(url, str) else f"file://{url}"), **more)


async def test_the_default_branch_is_taken_and_what_no_bundle_holds_is_left_out(
    git: GitRepositories, url: str, repository: Repository
) -> None:
    taken = await git.checkout(source(url))
    assert taken.commit == repository.commits[1]
    assert taken.files == {"index.js": "2", "lib/a.ts": "export {}"}


async def test_a_branch_is_taken_by_its_name(git: GitRepositories, url: str, repository: Repository) -> None:
    commit = repository.commit({"index.js": "beta"}, branch="feature/beta")
    taken = await git.checkout(source(url, branch="feature/beta"))
    assert (taken.commit, taken.files) == (commit, {"index.js": "beta"})


async def test_a_commit_pins_though_its_branch_has_moved(
    git: GitRepositories, url: str, repository: Repository
) -> None:
    taken = await git.checkout(source(url, commit=repository.commits[0]))
    assert taken.files == FIRST


async def test_a_folder_of_the_repository_can_be_the_function(git: GitRepositories, url: str) -> None:
    assert (await git.checkout(source(url, directory="lib"))).files == {"a.ts": "export {}"}


@pytest.mark.parametrize("inner", ["", ".git"], ids=["bare", "with a working tree"])
async def test_a_repository_of_this_machine_is_read_where_files_may_be(
    git: GitRepositories, tmp_path: Path, inner: str
) -> None:
    made = make_repository(tmp_path / "repositories" / "local" / inner, [FIRST])
    taken = await git.checkout(source(tmp_path / "repositories" / "local"))
    assert (taken.commit, taken.files) == (made.commits[0], FIRST)


async def test_a_repository_elsewhere_on_this_machine_is_refused(git: GitRepositories, tmp_path: Path) -> None:
    make_repository(tmp_path / "elsewhere", [FIRST])
    (tmp_path / "repositories").mkdir()
    (tmp_path / "repositories" / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere", tmp_path / "repositories" / "link"):
        with pytest.raises(FetchError, match="not in a folder that code may be read from"):
            await git.checkout(source(path))


async def test_objects_borrowed_from_elsewhere_are_refused(git: GitRepositories, tmp_path: Path) -> None:
    made = make_repository(tmp_path / "repositories" / "borrower", [FIRST])
    (made.path / "objects" / "info" / "alternates").write_text(str(tmp_path))
    with pytest.raises(BuildError, match="alternates"):
        await git.checkout(source(made.path))


async def test_no_hook_or_filter_of_a_repository_is_run(git: GitRepositories, tmp_path: Path) -> None:
    made = make_repository(
        tmp_path / "repositories" / "armed", [{**FIRST, ".gitattributes": "*.js filter=evil", ".gitconfig": "x"}]
    )
    mark = tmp_path / "was-here"
    for hook in ("post-checkout", "fsmonitor", "reference-transaction"):
        path = made.path / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {mark}\n")
        path.chmod(0o755)
    with (made.path / "config").open("a") as config:
        config.write(f'[filter "evil"]\n\tsmudge = touch {mark}\n[core]\n\tfsmonitor = touch {mark}\n')
    assert (await git.checkout(source(made.path))).files == FIRST
    assert not mark.exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"vendor/lib": Entry(b"a" * 40, SUBMODULE)}, "vendor/lib is a submodule"),
        ({"a.js": Entry(b"/etc/passwd", SYMBOLIC_LINK)}, "a.js is a symbolic link that leaves the repository"),
        ({"x/a.js": Entry(b"../../../etc/passwd", SYMBOLIC_LINK)}, "x/a.js is a symbolic link that leaves"),
        ({"a.js": Entry(b"b.js", SYMBOLIC_LINK), "b.js": Entry(b"a.js", SYMBOLIC_LINK)}, "more than 8 symbolic links"),
        ({"big.json": "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"}, "big.json is in Git LFS"),
        ({f"{n}.js": "1" for n in range(5001)}, "limit of 5000 source files"),
        ({"/".join("d" * 66) + "/a.js": "1"}, "more than 64 folders"),
    ],
)
async def test_what_a_function_would_lack_is_told(
    git: GitRepositories, tmp_path: Path, more: Files, expected: str
) -> None:
    made = make_repository(tmp_path / "repositories" / "hostile", [dict(FIRST) | dict(more)])
    with pytest.raises(BuildError, match=expected):
        await git.checkout(source(made.path))


async def test_a_link_within_the_repository_is_followed(git: GitRepositories, tmp_path: Path) -> None:
    files: Files = {
        "shared/a.js": "a",
        "fn/a.js": Entry(b"../shared/a.js", SYMBOLIC_LINK),
        "fn/gone.js": Entry(b"x", SYMBOLIC_LINK),
    }
    made = make_repository(tmp_path / "repositories" / "linked", [files])
    assert (await git.checkout(source(made.path, directory="fn"))).files == {"a.js": "a"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"branch": "nope"}, "no branch nope; its branches are: main"),
        ({"directory": "nope"}, "no folder nope"),
    ],
)
async def test_what_is_not_there_is_told(
    git: GitRepositories, url: str, repository: Repository, more: dict[str, str], expected: str
) -> None:
    for place in (url, repository.path):
        with pytest.raises(BuildError, match=expected):
            await git.checkout(source(place, **more))


async def test_a_commit_that_the_repository_lacks_is_told(git: GitRepositories, url: str) -> None:
    with pytest.raises((BuildError, FetchError), match="commit|refuses|not"):
        await git.checkout(source(url, commit="0" * 39 + "1"))


async def test_a_commit_that_a_repository_of_this_machine_lacks_is_told_by_its_name(
    git: GitRepositories, tmp_path: Path
) -> None:
    make_repository(tmp_path / "repositories" / "local", [FIRST])
    with pytest.raises(BuildError, match="has no object 0{39}1: is the commit right"):
        await git.checkout(source(tmp_path / "repositories" / "local", commit="0" * 39 + "1"))


async def test_an_empty_repository_is_told(git: GitRepositories, tmp_path: Path) -> None:
    made = make_repository(tmp_path / "repositories" / "empty", [])
    with git_server({"/empty": made}) as base:
        for place in (f"{base}/empty", made.path):
            with pytest.raises((BuildError, FetchError), match="no default branch|no commit|branches are: none"):
                await git.checkout(source(place))


async def test_a_private_repository_is_read_with_its_password_which_no_message_holds(
    repository: Repository,
) -> None:
    with git_server({"/hello": repository}, password="hunter2") as base:
        host = base.removeprefix("http://")
        settings = FetchSettings(attempts_max=1, insecure_registries=frozenset({host}))
        async with HttpClient(settings) as http:
            git = GitRepositories(http, settings)
            url = repository_place(f"{base}/hello")
            with pytest.raises(FetchError, match="a private one needs credentialsRef"):
                await git.checkout(GitSource(url))
            with pytest.raises(FetchError, match="are the URL and the secret right") as raised:
                await git.checkout(GitSource(url, credentials=Credentials("git", "hunter3")))
            assert "hunter3" not in f"{raised.value} {raised.value.detail}"
            assert (await git.checkout(GitSource(url, credentials=Credentials("git", "hunter2")))).files[
                "index.js"
            ] == "2"


async def test_a_password_is_not_sent_where_all_can_read_it(git: GitRepositories, url: str) -> None:
    with pytest.raises(BuildError, match="use https"):
        await git.checkout(GitSource(repository_place(url), credentials=Credentials("git", "hunter2")))


async def test_what_is_no_repository_is_told(git: GitRepositories, url: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="404"):
        await git.checkout(source(f"{url}-missing"))
    (tmp_path / "repositories" / "plain").mkdir()
    with pytest.raises(BuildError, match="is no git repository"):
        await git.checkout(source(tmp_path / "repositories" / "plain"))


async def test_a_huge_repository_meets_the_limit_of_its_pack(
    git: GitRepositories, url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "PACK_BYTES_MAX", 100_000)
    repository.commit({"index.js": "3", "video.bin": os.urandom(200_000)})
    with pytest.raises(FetchError, match="larger than the limit of 100000 bytes"):
        await git.checkout(source(url))


async def test_a_repository_that_unpacks_to_too_much_meets_the_limit_of_memory(
    git: GitRepositories, url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "CHECKOUT_ADDRESS_SPACE_BYTES_MAX", 160 * 1024 * 1024)
    repository.commit({"index.js": "3", "zeros.txt": bytes(96 * 1024 * 1024)})  # packed, some 100 kB
    with pytest.raises(BuildError, match="more memory than its checkout may take"):
        await git.checkout(source(url))
