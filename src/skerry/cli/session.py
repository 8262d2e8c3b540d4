"""What commands that talk to a server share: where the server is, an event loop, whole lists."""

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from skerry.api.model import Document
from skerry.cli.connection import Access, find_kubeconfig, read_access
from skerry.client.http import HttpTransport
from skerry.client.paging import pages
from skerry.client.transport import Target
from skerry.kit.errors import ConfigurationError

T = TypeVar("T")

DataDirFlag = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="Where Skerry keeps everything. Default: ./.skerry")
]
KubeconfigFlag = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="Default: that of --data-dir, else $KUBECONFIG, else ./.skerry/kubeconfig"
    ),
]


def run(work: Awaitable[T]) -> T:
    """Do the work of a command, and return its outcome."""

    async def call() -> T:
        return await work

    return asyncio.run(call())


def data_dir_of(flag: str | None) -> Path:
    """Return the data directory: the flag's, the environment's, or the default."""
    return Path(flag or os.environ.get("SKERRY_DATA_DIR") or ".skerry")


def access_of(kubeconfig: Path | None, data_dir: str | None) -> Access:
    """Return how the server is reached; raises ConfigurationError where no kubeconfig is found."""
    return read_access(find_kubeconfig(kubeconfig, data_dir, os.environ))


async def list_all(transport: HttpTransport, target: Target, selector: str = "") -> list[Document]:
    """Return every object of a collection, read page by page."""
    return [item async for page in pages(transport, target, label_selector=selector) for item in page["items"]]


def pairs(texts: list[str]) -> dict[str, str]:
    """Read `--env NAME=VALUE`s; raises ConfigurationError."""
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--env: {text!r} must be NAME=VALUE")
        pairs[name] = value
    return pairs
