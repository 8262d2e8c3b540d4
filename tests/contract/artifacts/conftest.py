"""What the tests of fetching share: a keep, a fetcher, and modules that tell themselves apart."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from skerry.api.code_urls import parse_code_url
from skerry.artifacts.fetching.downloads import Source
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.folder import FolderKeep
from skerry.artifacts.keep import ArtifactKeep
from skerry.testing.wasm import proxy_wasm_module

MODULE = proxy_wasm_module(b"the module")
#: Quick to give up, so that tests of failures are quick.
QUICK: dict[str, Any] = {
    "attempts_max": 3,
    "retry_first_seconds": 0.001,
    "fetch_seconds_max": 20.0,
    "file_dirs": (Path("/"),),
}

OpenFetcher = Callable[..., Any]


def source(url: str, **more: Any) -> Source:
    return Source(parse_code_url(url), **more)


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[ArtifactKeep]:
    async with FolderKeep(tmp_path / "keep") as opened:
        yield opened


@pytest.fixture
async def open_fetcher(keep: ArtifactKeep) -> AsyncIterator[OpenFetcher]:
    """Open fetchers with settings of a test's own."""
    async with AsyncExitStack() as stack:

        async def open_one(**settings: Any) -> CodeFetcher:
            return await stack.enter_async_context(CodeFetcher(keep, FetchSettings(**{**QUICK, **settings})))

        yield open_one


@pytest.fixture
async def fetcher(open_fetcher: OpenFetcher) -> CodeFetcher:
    opened: CodeFetcher = await open_fetcher()
    return opened
