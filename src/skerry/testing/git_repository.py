"""Real git repositories, made of whatever a test wants in them, and a real server of git's smart protocol for them.

repository = make_repository(folder, [{"index.js": "..."}, {"index.js": "..."}])
with git_server({"/hello": repository}) as url:
    ...  # f"{url}/hello"
"""

import base64
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

from skerry.testing.threaded import in_a_thread

#: Modes of what is no plain file.
SYMBOLIC_LINK, SUBMODULE, FILE = 0o120000, 0o160000, 0o100644
BRANCH = "main"


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path: a link's target is its content, a submodule's commit too."""

    content: bytes
    mode: int = FILE


#: What stands at each path.
Files = Mapping[str, str | bytes | Entry]


@dataclass
class Repository:
    """A repository and its commits, oldest first."""

    repo: Repo
    commits: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.repo.path)

    def commit(self, files: Files, *, branch: str = BRANCH) -> str:
        """Add a commit with these files, and no others, to a branch."""
        reference = f"refs/heads/{branch}".encode()
        commit = Commit()
        commit.tree = self._tree({path: _entry(content) for path, content in files.items()})
        commit.parents = [self.repo.refs[reference]] if reference in self.repo.refs else []  # type: ignore[index,operator]
        commit.author = commit.committer = b"Test <test@example.com>"
        commit.author_time = commit.commit_time = 1_700_000_000 + len(self.commits)
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"a commit"
        self.repo.object_store.add_object(commit)
        self.repo.refs[reference] = commit.id  # type: ignore[index]
        self.commits.append(commit.id.decode())
        return self.commits[-1]

    def _tree(self, files: Mapping[str, Entry]) -> ObjectID:
        tree, folders = Tree(), dict[str, dict[str, Entry]]()
        for path, entry in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = entry
                continue
            sha = ObjectID(entry.content)
            if entry.mode != SUBMODULE:
                blob = Blob.from_string(entry.content)
                self.repo.object_store.add_object(blob)
                sha = blob.id
            tree.add(name.encode(), entry.mode, sha)
        for name, below in folders.items():
            tree.add(name.encode(), stat.S_IFDIR, self._tree(below))
        self.repo.object_store.add_object(tree)
        return tree.id


def make_repository(path: Path, commits: Iterable[Files]) -> Repository:
    """Make a bare repository whose branch `main` has these commits; HEAD stands for it."""
    path.mkdir(parents=True)
    repo = Repo.init_bare(str(path))
    repo.refs.set_symbolic_ref(b"HEAD", f"refs/heads/{BRANCH}".encode())  # type: ignore[arg-type]
    repository = Repository(repo)
    for files in commits:
        repository.commit(files)
    return repository


@contextmanager
def git_server(repositories: Mapping[str, Repository], *, password: str = "") -> Iterator[str]:
    """Serve repositories by path on loopback; yields the URL. With a password, only to the user `git`."""
    backend = DictBackend({path.encode(): repository.repo for path, repository in repositories.items()})  # type: ignore[arg-type]
    application: Any = make_wsgi_chain(backend)
    server = make_server("127.0.0.1", 0, _guarded(application, password), handler_class=_Quiet)
    with in_a_thread(server):
        yield f"http://127.0.0.1:{server.server_port}"


def _guarded(application: Any, password: str) -> Any:
    wanted = "Basic " + base64.b64encode(f"git:{password}".encode()).decode()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if password and environ.get("HTTP_AUTHORIZATION") != wanted:
            start_response("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("Content-Length", "0")])
            return []
        return application(environ, start_response)

    return answer


def _entry(content: str | bytes | Entry) -> Entry:
    match content:
        case Entry():
            return content
        case str():
            return Entry(content.encode())
        case bytes():
            return Entry(content)


class _Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""
