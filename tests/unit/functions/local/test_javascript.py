"""Deploying JavaScript: what is read for it keeps nobody else waiting."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skerry.functions.local.javascript import ENTRY, JavaScriptRuntime

NOTHING: Any = None


class Counting:
    """Bundles nothing; notes the files, and how far others had come by then."""

    def __init__(self) -> None:
        self.turns = 0
        self.turns_by_then = 0
        self.files: Mapping[str, str] = {}

    async def bundle(self, files: Mapping[str, str], entrypoint: str) -> bytes:  # noqa: ARG002 - `Bundler`
        self.files, self.turns_by_then = files, self.turns
        return b""

    async def count(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


async def test_others_go_on_while_the_files_of_a_deployment_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(100):
        (source / f"{number}.js").write_text("module.exports = () => 1")
    bundler = Counting()
    counting = asyncio.ensure_future(bundler.count())
    await JavaScriptRuntime(NOTHING, bundler).prepare(tmp_path, "./7.js")
    counting.cancel()
    assert set(bundler.files) == {ENTRY, *(f"{number}.js" for number in range(100))}
    assert bundler.turns_by_then > 1
