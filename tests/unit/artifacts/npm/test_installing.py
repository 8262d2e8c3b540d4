"""Folders of dependencies: kept for further builds, and removed while others go on."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from skerry.artifacts.fetching.http import Answer, Request
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.npm import installing
from skerry.artifacts.npm.installing import NpmSettings, PackageInstaller

REGISTRY = "https://npm.example"


def tarball() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo("package/index.js")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"1"))
    return gzip.compress(content.getvalue(), mtime=0)


TARBALL = tarball()


def depending_on(name: str) -> dict[str, str]:
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(TARBALL).digest()).decode()}"
    package = {"version": "1.0.0", "integrity": integrity}
    wanted = {"dependencies": {name: "1.0.0"}}
    lock = {"lockfileVersion": 3, "packages": {"": wanted, f"node_modules/{name}": package}}
    return {"package.json": json.dumps(wanted), "package-lock.json": json.dumps(lock)}


class Network:
    """Has every package."""

    async def send(self, _: Request) -> Answer:
        return Answer(200, httpx.Headers(), TARBALL, hashlib.sha256(TARBALL).hexdigest())


@pytest.fixture
async def packages(tmp_path: Path) -> AsyncIterator[PackageInstaller]:
    settings = NpmSettings(Path("/node"), None, tmp_path, REGISTRY)
    async with PackageInstaller(Network(), settings, FetchSettings()) as made:  # type: ignore[arg-type]  # no more is asked of it
        yield made


async def test_a_folder_that_a_build_begins_to_use_while_others_are_removed_stays(
    packages: PackageInstaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, removing, let_on = asyncio.get_running_loop(), asyncio.Event(), Event()
    rmtree = shutil.rmtree

    def removed(folder: Path, **options: Any) -> None:
        loop.call_soon_threadsafe(removing.set)
        let_on.wait()
        rmtree(folder, **options)

    async def built(name: str) -> None:
        async with packages.installed(depending_on(name)) as installed:
            assert installed.folder is not None
            assert (installed.folder / "node_modules" / name / "index.js").read_text() == "1"

    for name in ("first", "second", "third"):
        await built(name)
    monkeypatch.setattr(installing, "INSTALLATIONS_MAX", 0)
    monkeypatch.setattr("skerry.artifacts.npm.installing.shutil.rmtree", removed)
    async with asyncio.TaskGroup() as group:
        group.create_task(built("fourth"))
        await removing.wait()  # of the first, and the others are to go, too
        async with packages.installed(depending_on("second")) as used:
            again = group.create_task(built("first"))
            let_on.set()
            await again
            await built("third")
            assert used.folder is not None
            assert (used.folder / "node_modules" / "second" / "index.js").is_file()
