"""Installers of packages: processes that end with who waits for them, and are told of in their own words."""

import asyncio
import os
from pathlib import Path

import pytest

from skerry.functions.errors import FunctionError
from skerry.functions.local import installing
from skerry.functions.local.installing import install_packages


def script(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


async def read(pipe: Path) -> int:
    """Return the process id that somebody writes into a pipe."""
    return int(await asyncio.to_thread(pipe.read_text))


async def test_an_installer_ends_with_who_waits_for_it_and_so_does_what_it_started(tmp_path: Path) -> None:
    pipe = tmp_path / "ids"
    os.mkfifo(pipe)
    command = script(f"sleep 600 & echo $! > {pipe}; wait")
    waiting = asyncio.ensure_future(install_packages(command, "package.json", tmp_path, {}))
    process = await read(pipe)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(60):
        while not gone(process):  # noqa: ASYNC110 - its new parent takes leave of it
            await asyncio.sleep(0.01)


async def test_an_installer_that_takes_too_long_is_the_functions_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "INSTALL_SECONDS_MAX", 0.01)
    with pytest.raises(FunctionError, match="package.json took longer than 0 s to install"):
        await install_packages(script("sleep 600"), "package.json", tmp_path, {})


async def test_the_last_words_of_an_installer_are_told_however_much_it_says(tmp_path: Path) -> None:
    with pytest.raises(FunctionError, match="(?s)package.json could not be installed: .*no such package$"):
        await install_packages(
            script("yes 1234567 | head -c 1000000 >&2; echo no such package >&2; exit 1"), "package.json", tmp_path, {}
        )
