import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skerry.agent.development.watching import Watcher


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    (tmp_path / "lib").mkdir()
    (tmp_path / "index.js").write_text("1")
    with ThreadPoolExecutor(1) as executor:
        yield Watcher(tmp_path, executor)


def saved_by_replacing(folder: Path) -> None:
    (folder / "index.js~").write_text("2")
    (folder / "index.js~").replace(folder / "index.js")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "index.js").write_text("22"),
        saved_by_replacing,
        lambda folder: (folder / "lib" / "new.js").write_text("1"),
        lambda folder: (folder / "index.js").unlink(),
        lambda folder: (folder / ".dev.vars").write_text("A=1"),
        lambda folder: (folder / "target").mkdir() or (folder / "target" / "fn.wasm").write_text("1"),
    ],
)
async def test_a_change_is_noticed(watcher: Watcher, tmp_path: Path, change: Callable[[Path], object]) -> None:
    watcher.watch_also(tmp_path / "target" / "fn.wasm")
    stamp = await watcher.stamp()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(watcher.changed_since(stamp))
        change(tmp_path)
    assert waiting.done()


async def test_what_is_installed_or_hidden_is_no_change(watcher: Watcher, tmp_path: Path) -> None:
    stamp = await watcher.stamp()
    for folder in ("node_modules", ".git", "dist"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.js").write_text("1")
    (tmp_path / ".index.js.swp").write_text("1")
    assert await watcher.stamp() == stamp
