"""Files that applications need from elsewhere."""

import gzip
import hashlib
import io
import re
import struct
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from skerry.agent.member.archives import BYTES_MAX, FILES_MAX, INDEX_BYTES_MAX
from skerry.agent.member.documents import RemoteObject
from skerry.agent.member.downloads import TRIES, Downloads
from skerry.agent.member.errors import ApplicationError

CONTENT = b"0123456789" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
Handler = Callable[[httpx.Request], httpx.Response]


async def bring(handler: Handler, folder: Path, executor: ThreadPoolExecutor, **wanted: str) -> Path:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        item = RemoteObject(url="https://objects.example/file?signature=s3cret", **wanted)
        return await Downloads(http, folder, executor).bring("conf", "1", "file", item)


def always(content: bytes) -> Handler:
    return lambda _: httpx.Response(200, content=content)


def zipped(name: str, content: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def zip_bomb() -> bytes:
    """A zip that says that it is too large: nothing of that is there."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("big", b"x")
        archive.filelist[0].file_size = BYTES_MAX + 1
    return file.getvalue()


def zip_index(*, files: int, name_bytes: int = 0) -> bytes:
    """A zip that is an index alone."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", name_bytes) + bytes(16) + b"n" * name_bytes
    count = min(files, 0xFFFF)  # nobody looks at it
    return entry * files + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entry) * files, 0, 0)


def tarred(name: str, *, link_to: str = "", kind: bytes = tarfile.SYMTYPE) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        if link_to:
            member.type, member.linkname = kind, link_to
            archive.addfile(member)
        else:
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    return file.getvalue()


def tar_bomb(*, files: int, size_bytes: int = 0) -> bytes:
    """A tar of files that are said to have a size, and have none."""
    member = tarfile.TarInfo("big")
    member.size = size_bytes
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) * files, compresslevel=1)


def told_at_length(*, files: int, told_bytes: int) -> bytes:
    """A tar of empty files, of each of which much is told."""
    member = tarfile.TarInfo("small")
    member.pax_headers = {"comment": "x" * told_bytes}
    return gzip.compress(member.tobuf(tarfile.PAX_FORMAT) * files, compresslevel=1)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


async def test_a_file_that_is_here_is_not_fetched_again(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=CONTENT)

    for _ in range(2):
        path = await bring(answer, tmp_path, executor, md5=MD5, token="t")
        assert path.read_bytes() == CONTENT
    assert [request.headers["x-bce-security-token"] for request in asked] == ["t"]


async def test_a_download_that_broke_off_goes_on_where_it_was(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    asked: list[str] = []

    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield CONTENT[:4000]
            raise httpx.ReadError("the connection was cut")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range", ""))
        if not asked[-1]:
            return httpx.Response(200, stream=Broken())
        start = int(asked[-1].removeprefix("bytes=").removesuffix("-"))
        return httpx.Response(206, content=CONTENT[start:])

    path = await bring(answer, tmp_path, executor, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert asked[0] == ""
    assert len(asked) == 2


async def test_a_download_without_an_md5_is_begun_anew(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    asked: list[httpx.Request] = []

    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"of the file that was there before"
            raise httpx.ReadError("the connection was cut")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=Broken()) if len(asked) == 1 else httpx.Response(200, content=CONTENT)

    path = await bring(answer, tmp_path, executor)
    assert path.read_bytes() == CONTENT
    assert ["range" in request.headers for request in asked] == [False, False]


async def test_a_file_with_another_md5_is_refused_and_not_kept(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    with pytest.raises(ApplicationError, match="its MD5 is not the one"):
        await bring(always(CONTENT), tmp_path, executor, md5="0" * 32)
    assert files_in(tmp_path) == []


async def test_a_failure_names_the_file_and_never_its_signed_url(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    asked: list[httpx.Request] = []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError(f"no way to {request.url}")

    with pytest.raises(ApplicationError) as raised:
        await bring(away, tmp_path, executor)
    assert "object file: it can't be fetched" in raised.value.public
    assert "s3cret" not in raised.value.public
    assert len(asked) == TRIES


async def test_a_refusal_is_not_asked_again(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    with pytest.raises(ApplicationError, match="object file: the server answered 403"):
        await bring(lambda _: httpx.Response(403), tmp_path, executor)


@pytest.mark.parametrize(
    ("form", "archive", "told"),
    [
        ("zip", zipped("../escaped"), "'../escaped' would be outside of its folder"),
        ("zip", zipped("/escaped"), "'/escaped' would be outside of its folder"),
        ("tgz", tarred("../escaped"), "'../escaped' would be outside of its folder"),
        ("tgz", tarred("/escaped"), "'/escaped' would be outside of its folder"),
        ("tgz", tarred("link", link_to="/etc"), "can't be unpacked: 'link'"),
        ("tgz", tarred("link", link_to="../../etc"), "can't be unpacked: 'link'"),
        ("tgz", tarred("link", link_to="../secret", kind=tarfile.LNKTYPE), "can't be unpacked: 'link'"),
        ("tgz", tarred("null", link_to="x", kind=tarfile.CHRTYPE), "can't be unpacked: 'null'"),
        ("zip", zip_bomb(), f"more than {BYTES_MAX} bytes unpacked"),
        ("tgz", tar_bomb(files=1, size_bytes=BYTES_MAX + 1), f"more than {BYTES_MAX} bytes unpacked"),
        ("tgz", tar_bomb(files=FILES_MAX + 1), f"more than {FILES_MAX} files"),
        ("zip", b"no archive", "can't be unpacked"),
        ("tgz", b"no archive", "can't be unpacked"),
        ("rar", zipped("file"), "can't be unpacked as 'rar': zip, tar and tgz are known"),
    ],
    ids=[
        "zip-up",
        "zip-absolute",
        "tgz-up",
        "tgz-absolute",
        "tgz-link-absolute",
        "tgz-link-up",
        "tgz-hard-link",
        "tgz-device",
        "zip-bomb",
        "tgz-bomb",
        "tgz-files",
        "zip-broken",
        "tgz-broken",
        "rar",
    ],
)
async def test_a_bad_archive_leaves_nothing_and_is_told(
    form: str, archive: bytes, told: str, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    folder = tmp_path / "objects"
    with pytest.raises(ApplicationError, match=f"object file: .*{re.escape(told)}"):
        await bring(always(archive), folder, executor, unpack=form)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("form", "archive", "told"),
    [
        ("zip", partial(zip_index, files=FILES_MAX + 1), f"lists more than {FILES_MAX} files"),
        ("zip", partial(zip_index, files=600, name_bytes=65535), f"has more than {INDEX_BYTES_MAX} bytes"),
        ("tgz", partial(told_at_length, files=1, told_bytes=INDEX_BYTES_MAX), f"has more than {INDEX_BYTES_MAX} bytes"),
        ("tgz", partial(told_at_length, files=33, told_bytes=1024**2), f"has more than {INDEX_BYTES_MAX} bytes"),
    ],
    ids=["zip-entries", "zip-names", "tgz-one", "tgz-many"],
)
async def test_an_index_is_refused_that_would_take_much_memory(
    form: str, archive: Callable[[], bytes], told: str, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    with pytest.raises(ApplicationError, match=f"the archive's index {told}"):
        await bring(always(archive()), tmp_path, executor, unpack=form)
    assert files_in(tmp_path) == []


async def test_an_archive_is_unpacked_with_its_modes(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("bin/run")
        info.external_attr = 0o755 << 16
        archive.writestr(info, b"#!/bin/sh\n")
    path = await bring(always(file.getvalue()), tmp_path, executor, unpack="zip")
    assert (path / "bin" / "run").stat().st_mode & 0o777 == 0o755
