"""From a git repository to a function's source files.

    resolve the branch -> fetch one commit as a pack (HTTP), or open the folder (file) -> take the files (`checkout`)

Owns these steps and their limits. Does not own what git says over HTTP (`protocol`), which addresses may be reached
(`fetching.egress`) or which files of this machine (`FetchSettings.file_dirs`): both are as for any other code.

Invariants: what a server sends is only looked at by a child process with limits of time and memory. A user and a
password go to the origin of the repository's URL alone, and into no message.
"""

import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from skerry.api.code_urls import FileUrl, HttpUrl
from skerry.artifacts import child, sources
from skerry.artifacts.errors import BuildError, Diagnostic, FetchError
from skerry.artifacts.fetching.credentials import Credentials
from skerry.artifacts.fetching.files import allowed_path
from skerry.artifacts.fetching.http import Answer, HttpClient, Request
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.git import protocol
from skerry.artifacts.git.protocol import Advertisement, ProtocolError
from skerry.kit.deadlines import within

#: What a server may say about its branches and tags: a repository with 100,000 of them takes 7 MB.
ADVERTISEMENT_BYTES_MAX = 16 * 1024 * 1024
#: One commit, packed: what belongs to no function (images, videos) comes along.
PACK_BYTES_MAX = 128 * 1024 * 1024
#: Files and folders of one commit that are looked at.
ENTRIES_MAX = 50_000
#: Taking the files out of a pack, in seconds.
CHECKOUT_SECONDS_MAX = 60.0
#: Memory of the process that does it; deltas and compressed objects can be made to ask for any amount.
CHECKOUT_ADDRESS_SPACE_BYTES_MAX = 1024 * 1024 * 1024
#: Checkouts at once: each is a process, and may hold a pack.
CHECKOUTS_MAX = 2
#: JSON escapes a character by up to six bytes.
_OUTPUT_BYTES_MAX = 6 * sources.SOURCE_BYTES_MAX + 4 * 1024 * 1024
_BRANCHES_TOLD_MAX = 20


@dataclass(frozen=True, slots=True)
class GitSource:
    """Which files of which repository.

    Attributes:
        repository: its URL.
        branch: "" for the default branch.
        commit: 40 hexadecimal digits, or "" for the branch's.
        directory: the folder of the function in it; "" for all of it.
        credentials: user and password of the server; None for nobody.
    """

    repository: HttpUrl | FileUrl
    branch: str = ""
    commit: str = ""
    directory: str = ""
    credentials: Credentials | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Checkout:
    """What was taken: the text of each file by its path below the directory, and the commit."""

    commit: str
    files: dict[str, str]


class GitRepositories:
    """Brings source files from repositories.

    Args:
        http: makes the requests.
        settings: what may be fetched.
    """

    def __init__(self, http: HttpClient, settings: FetchSettings) -> None:
        self._http = http
        self._settings = settings
        self._slots = asyncio.Semaphore(CHECKOUTS_MAX)

    async def checkout(self, source: GitSource) -> Checkout:
        """Bring the files of a commit.

        Raises:
            BuildError: the repository has no such branch, commit or folder, or can't be a function's source.
            FetchError: it can't be had.
            BuilderError: the checkout could not be carried out.
        """
        async with self._slots:
            if isinstance(source.repository, FileUrl):
                return await self._from_folder(source, source.repository)
            return await self._from_server(source, source.repository)

    async def _from_folder(self, source: GitSource, place: FileUrl) -> Checkout:
        path = await asyncio.to_thread(allowed_path, place.path, self._settings.file_dirs)
        if not await asyncio.to_thread(_is_repository, path):
            raise _fault(f"{place} is no git repository")
        return await _taken(source, path=str(path), commit=source.commit, pack=b"")

    async def _from_server(self, source: GitSource, place: HttpUrl) -> Checkout:
        try:
            with within(self._settings.fetch_seconds_max):
                advertisement = await self._advertisement(source, place)
                commit = source.commit or _tip(advertisement, source.branch, place)
                pack = await self._pack(source, place, advertisement, commit)
        except TimeoutError as error:
            limit = f"{self._settings.fetch_seconds_max:g} seconds"
            raise FetchError("TimedOut", f"{place} can't be fetched within {limit}") from error
        except ProtocolError as error:
            raise FetchError("DownloadFailed", f"{place}: {error.public}") from error
        return await _taken(source, path=None, commit=commit, pack=pack)

    async def _advertisement(self, source: GitSource, place: HttpUrl) -> Advertisement:
        url = f"{_base(place)}/info/refs?service={protocol.SERVICE}"
        answer = await self._send(source, Request(url, ADVERTISEMENT_BYTES_MAX))
        _require_ok(answer, place, with_credentials=source.credentials is not None)
        return protocol.read_advertisement(answer.body)

    async def _pack(self, source: GitSource, place: HttpUrl, advertisement: Advertisement, commit: str) -> bytes:
        """Fetch a commit alone; from servers that give tips of branches only, its branch with all of its history."""
        try:
            return await self._fetched(source, place, protocol.want(commit, advertisement.capabilities))
        except (ProtocolError, FetchError):
            tip = _tip(advertisement, source.branch, place)
            if tip == commit:
                raise
            return await self._fetched(
                source, place, protocol.want(tip, advertisement.capabilities, whole_history=True)
            )

    async def _fetched(self, source: GitSource, place: HttpUrl, asked: bytes) -> bytes:
        url = f"{_base(place)}/{protocol.SERVICE}"
        headers = {"content-type": protocol.REQUEST_TYPE}
        answer = await self._send(source, Request(url, PACK_BYTES_MAX, headers, content=asked))
        _require_ok(answer, place, with_credentials=source.credentials is not None)
        return protocol.read_pack(answer.body)

    async def _send(self, source: GitSource, request: Request) -> Answer:
        headers = dict(request.headers)
        parts = urlsplit(request.url)
        insecure = self._settings.is_insecure(parts.netloc)
        if source.credentials is not None:
            if parts.scheme != "https" and not insecure:
                raise _fault(
                    f"{source.repository} is reached by http, where anybody could read the password: use https"
                )
            headers["authorization"] = source.credentials.basic
        return await self._http.send(
            Request(request.url, request.bytes_max, headers, content=request.content, insecure=insecure)
        )


async def _taken(source: GitSource, *, path: str | None, commit: str, pack: bytes) -> Checkout:
    """Have a child process take the files out; `path` is that of a repository on this machine."""
    order = {
        "path": path,
        "branch": source.branch,
        "commit": commit,
        "directory": source.directory,
        "entries_max": ENTRIES_MAX,
        "files_max": sources.FILES_MAX,
        "source_bytes_max": sources.SOURCE_BYTES_MAX,
        "seconds_max": round(CHECKOUT_SECONDS_MAX),
        "address_space_bytes_max": CHECKOUT_ADDRESS_SPACE_BYTES_MAX,
    }
    with tempfile.TemporaryDirectory(prefix="skerry-git-") as folder:
        tool = child.Tool(
            [sys.executable, "-m", "skerry.artifacts.git.checkout", folder],
            Path(folder),
            CHECKOUT_SECONDS_MAX,
            _OUTPUT_BYTES_MAX,
            environment={"PYTHONPATH": ":".join(filter(None, sys.path))},
        )
        answer = json.loads(await child.run(tool, given=json.dumps(order).encode() + b"\n" + pack))
    if "problem" in answer:
        raise _fault(answer["problem"])
    return Checkout(answer["commit"], answer["files"])


def _base(place: HttpUrl) -> str:
    return place.url.rstrip("/")


def _is_repository(path: Path) -> bool:
    return any((folder / "HEAD").is_file() for folder in (path, path / ".git"))


def _tip(advertisement: Advertisement, branch: str, place: HttpUrl) -> str:
    commit = advertisement.refs.get(f"refs/heads/{branch}") if branch else advertisement.head
    if commit:
        return commit
    names = sorted(name.removeprefix("refs/heads/") for name in advertisement.refs if name.startswith("refs/heads/"))
    told = ", ".join(names[:_BRANCHES_TOLD_MAX]) or "none"
    asked = f"no branch {branch}" if branch else "no default branch: name one in branch"
    raise _fault(f"{place} has {asked}; its branches are: {told}")


def _require_ok(answer: Answer, place: HttpUrl, *, with_credentials: bool) -> None:
    match answer.status:
        case 200:
            return
        case 401 | 403 | 404:  # servers call a private repository missing
            fix = "are the URL and the secret right?" if with_credentials else "a private one needs credentialsRef"
            told = f"{place} is no repository that may be read ({answer.status}): {fix}"
            raise FetchError("NotFound" if answer.status == 404 else "Unauthorized", told)
        case status:
            raise FetchError("DownloadFailed", f"{place} answered {status}")


def _fault(message: str) -> BuildError:
    return BuildError([Diagnostic(message)])
