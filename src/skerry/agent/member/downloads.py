"""Files of applications that lie elsewhere: fetched in parts if need be, checked, unpacked.

    objects/<configuration>/<version>/<key>              the file, or the folder of what was unpacked
    objects/<configuration>/<version>/.<key>.part        what has come of it so far

Owns these files. Invariant: what has its name is complete and as its MD5 says.
"""

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx

from skerry.agent.member.archives import unpack
from skerry.agent.member.documents import RemoteObject
from skerry.agent.member.errors import ApplicationError
from skerry.kit.deadlines import within
from skerry.kit.files import make_private_directory
from skerry.kit.tasks import run_blocking

T = TypeVar("T")

#: Of one file.
OBJECT_BYTES_MAX = 4 * 1024**3
#: How long one file may take in all; a part of it may be silent for a minute.
DOWNLOAD_SECONDS_MAX = 1800.0
SILENCE_SECONDS_MAX = 60.0
#: How often a download that broke off is gone on with, before the application is told to have failed.
TRIES = 3


class Downloads:
    """Fetches files.

    Args:
        http: makes the requests; the caller closes it.
        directory: where they are kept.
        executor: for files.
    """

    def __init__(self, http: httpx.AsyncClient, directory: Path, executor: Executor) -> None:
        self._http = http
        self._directory = directory
        self._executor = executor

    async def bring(self, configuration: str, version: str, key: str, wanted: RemoteObject) -> Path:
        """Return where a file (or the folder of an unpacked archive) is, after fetching it where it is not yet.

        Raises:
            ApplicationError: it can't be fetched, is not what its MD5 says, or can't be unpacked.
        """
        folder = self._directory / configuration / version
        final, part = folder / key, folder / f".{key}.part"
        try:
            if await self._run(lambda: _is_there(final, wanted)):
                return final
            await self._run(partial(make_private_directory, folder))
            with within(DOWNLOAD_SECONDS_MAX):
                await self._fetch(wanted, part)
            await self._run(lambda: _put_in_place(wanted, part, final))
        except TimeoutError as error:
            raise ApplicationError(f"object {key}: it took more than {DOWNLOAD_SECONDS_MAX:.0f} s") from error
        except ApplicationError as error:
            raise ApplicationError(f"object {key}: {error.public}") from error
        except OSError as error:  # what is here of it is given back: a disk that is full has others to serve
            await self._run(partial(part.unlink, missing_ok=True))
            raise ApplicationError(f"object {key}: {error.strerror or error}") from error
        return final

    async def forget_all_but(self, used: set[tuple[str, str]]) -> None:
        """Remove the files of configurations, by name and version, that nothing uses any more."""
        kept = {self._directory / name / version for name, version in used}

        def remove() -> None:
            for folder in self._directory.glob("*/*"):
                if folder not in kept:
                    shutil.rmtree(folder)

        await self._run(remove)

    async def _fetch(self, wanted: RemoteObject, part: Path) -> None:
        for tried in range(1, TRIES + 1):
            try:
                await self._fetch_rest(wanted, part)
            except httpx.HTTPError as error:
                if tried == TRIES or isinstance(error, httpx.HTTPStatusError):
                    raise ApplicationError(_told(error)) from error
            else:
                return

    async def _fetch_rest(self, wanted: RemoteObject, part: Path) -> None:
        """Fetch what is missing of a file; a server that does not know ranges sends it whole.

        One without an MD5 is begun anew: nothing would tell that its first part is of another file by now.
        """
        there = await self._run(lambda: part.stat().st_size if wanted.md5 and part.exists() else 0)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        if wanted.token:
            headers["x-bce-security-token"] = wanted.token
        timeout = httpx.Timeout(SILENCE_SECONDS_MAX)
        async with self._http.stream("GET", wanted.url, headers=headers, timeout=timeout) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it is here
            response.raise_for_status()
            goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
            with part.open("ab" if goes_on else "wb") as file:
                await self._write(response, file, there if goes_on else 0)

    async def _write(self, response: httpx.Response, file: BinaryIO, written: int) -> None:
        async for chunk in response.aiter_bytes():
            written += len(chunk)
            if written > OBJECT_BYTES_MAX:
                raise OSError(f"it has more than {OBJECT_BYTES_MAX} bytes")
            await self._run(partial(file.write, chunk))

    async def _run(self, call: Callable[[], T]) -> T:
        return await run_blocking(self._executor, call)


def _told(error: httpx.HTTPError) -> str:
    """Say what went wrong without the URL, which may be signed."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code}"
    return f"it can't be fetched ({type(error).__name__})"


def _is_there(final: Path, wanted: RemoteObject) -> bool:
    if wanted.unpack or not wanted.md5:
        return final.exists()
    return final.is_file() and _md5(final) == wanted.md5.lower()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _put_in_place(wanted: RemoteObject, part: Path, final: Path) -> None:
    if wanted.md5 and _md5(part) != wanted.md5.lower():
        part.unlink()
        raise ApplicationError("its MD5 is not the one that the configuration tells")
    if not wanted.unpack:
        part.replace(final)
        return
    draft = final.with_name(f".{final.name}.unpacked")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        unpack(wanted.unpack, part, draft)
        draft.replace(final)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        part.unlink(missing_ok=True)
