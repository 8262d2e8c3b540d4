"""The program of nodes, packed by the control plane that they join."""

import asyncio
import hashlib
import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from skerry.artifacts import runtime_package
from skerry.artifacts.runtime_package import RuntimePackage, required_distributions
from skerry.kit.tar import tarfile


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A program that depends on h2, which depends on others."""
    folder = tmp_path / "src" / "program"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import h2\n")
    (folder / "__main__.py").write_text("import hpack, importlib.metadata\nprint(importlib.metadata.version('h2'))\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    return folder


def packing(tmp_path: Path, package: Path) -> RuntimePackage:
    return RuntimePackage(tmp_path / "install", distribution="h2", package=package, engine=tmp_path / "engine.wasm")


def test_what_a_distribution_requires_is_found_with_what_that_requires():
    assert [each.name for each in required_distributions("h2")] == ["h2", "hpack", "hyperframe"]


async def test_an_unpacked_program_runs_on_nothing_but_itself(tmp_path: Path, package: Path):
    async with packing(tmp_path, package) as runtime:
        packed = await runtime.packed()
    with tarfile.open(packed.path) as archive:
        assert not [name for name in archive.getnames() if "__pycache__" in name or name.startswith(("/", ".."))]
        archive.extractall(tmp_path / "device", filter="data")
    environment = {"PYTHONPATH": str(tmp_path / "device" / "lib"), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-S", "-m", "program"]
    printed = await anyio.run_process(command, env=environment)
    assert printed.stdout.decode().strip() == importlib.metadata.version("h2")


async def test_a_program_is_packed_once_and_told_by_its_digest(tmp_path: Path, package: Path):
    async with packing(tmp_path, package) as runtime:
        first = await runtime.packed()
    written = first.path.stat().st_mtime_ns
    async with packing(tmp_path, package) as runtime:
        again = await runtime.packed()
    assert (again, again.path.stat().st_mtime_ns) == (first, written)
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert first.python == f"{sys.version_info.major}.{sys.version_info.minor}"


async def test_packing_goes_on_where_who_asked_for_it_leaves_and_is_done_once(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
):
    go_on, archives = threading.Event(), list[Path]()

    def write_archive(path: Path, files: Iterable[tuple[str, Path]]) -> None:
        archives.append(path)
        go_on.wait()
        packed_as_ever(path, files)

    packed_as_ever = runtime_package._write_archive
    monkeypatch.setattr(runtime_package, "_write_archive", write_archive)
    async with packing(tmp_path, package) as runtime:
        for _ in range(2):  # more than one, each in a thread, would write over one another
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await runtime.packed()
        go_on.set()
        packed = await runtime.packed()
    assert hashlib.sha256(packed.path.read_bytes()).hexdigest() == packed.sha256
    assert len(archives) == 1


async def test_packing_that_failed_begins_anew_for_the_next_who_asks(tmp_path: Path, package: Path):
    (tmp_path / "install").write_text("a file in the place of the folder")
    async with packing(tmp_path, package) as runtime:
        with pytest.raises(OSError, match="install"):
            await runtime.packed()
        (tmp_path / "install").unlink()
        assert (await runtime.packed()).path.exists()


async def test_the_end_of_the_control_plane_does_not_wait_for_a_program_that_is_packed(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
):
    begun, go_on = threading.Event(), threading.Event()

    def write_archive(path: Path, files: Iterable[tuple[str, Path]]) -> None:
        begun.set()
        go_on.wait()
        packed_as_ever(path, files)

    packed_as_ever = runtime_package._write_archive
    monkeypatch.setattr(runtime_package, "_write_archive", write_archive)
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(packing(tmp_path, package))
        asked = asyncio.create_task(runtime.packed())
        await asyncio.to_thread(begun.wait)
        ending = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0)
        go_on.set()
        await ending
        with pytest.raises(InterruptedError, match="the control plane ends"):
            await asked
    assert [file.suffix for file in (tmp_path / "install").iterdir()] == [".incoming"]


async def test_a_changed_program_is_packed_again_and_takes_the_place_of_the_old_one(tmp_path: Path, package: Path):
    async with packing(tmp_path, package) as runtime:
        first = await runtime.packed()
    (package / "more.py").write_text("")
    async with packing(tmp_path, package) as runtime:
        second = await runtime.packed()
    assert second.sha256 != first.sha256
    assert list((tmp_path / "install").iterdir()) == [second.path]
