"""A shared keep while its place can't be reached."""

from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from skerry.api.code_urls import parse_code_url
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import FetchError, KeepUnavailableError
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.shared import SharedKeep
from skerry.testing.wasm import proxy_wasm_module


class Unreachable:
    """A place that nobody reaches."""

    async def put(self, digest: Digest, content: Path) -> None:
        raise KeepUnavailableError(f"no way to put {digest} of {content.name}")

    async def has(self, digest: Digest) -> bool:
        raise KeepUnavailableError(f"no way to ask for {digest}")

    async def pieces(self, digest: Digest) -> AsyncGenerator[bytes, None]:
        raise KeepUnavailableError(f"no way to read {digest}")
        yield b""

    async def discard(self, digest: Digest) -> None:
        raise KeepUnavailableError(f"no way to discard {digest}")

    async def remove_unreferenced(self, keep: AbstractSet[Digest], *, grace_seconds: float) -> int:
        raise KeepUnavailableError(f"no way to remove all but {len(keep)} after {grace_seconds} s")


async def test_what_is_on_this_machine_goes_on_serving_and_nothing_else_is_said_to_be_there(tmp_path: Path):
    async with FolderKeep(tmp_path, is_cache=True) as folder:
        here, absent = await folder.put(b"module"), Digest.of(b"absent")
        keep = SharedKeep(folder, Unreachable())
        assert await keep.has(here)
        assert await keep.read(here) == b"module"
        assert await keep.verify(here) == folder.path(here)
        for look in (keep.has, keep.read, keep.verify):
            with pytest.raises(KeepUnavailableError):
                await look(absent)
        with pytest.raises(KeepUnavailableError):
            await keep.put(b"new")


async def test_code_that_cannot_be_kept_is_a_failed_fetch_that_says_why(tmp_path: Path):
    (tmp_path / "module.wasm").write_bytes(proxy_wasm_module(b"module"))
    settings = FetchSettings(file_dirs=(tmp_path,))
    async with (
        FolderKeep(tmp_path / "keep", is_cache=True) as folder,
        CodeFetcher(SharedKeep(folder, Unreachable()), settings) as fetcher,
    ):
        with pytest.raises(FetchError, match="no way to put") as failed:
            await fetcher.fetch(Source(parse_code_url(f"file://{tmp_path}/module.wasm")))
    assert failed.value.reason == "DownloadFailed"
