"""Modules that are tried in a real, private Envoy."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from skerry.gateway import ir
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.trial import Trial, trial_settings
from skerry.gateway.verdicts import PASSED
from skerry.kit.tasks import background

pytestmark = pytest.mark.system

WAIT_SECONDS = 60.0


@dataclass
class Court:
    trial: Trial
    late: list[None] = field(default_factory=list)

    async def judge(self, *plugins: ir.Plugin, wait_seconds: float = WAIT_SECONDS) -> list[str | None]:
        await self.trial.judge(plugins, wait_seconds=wait_seconds)
        return [self.trial.verdict(plugin) for plugin in plugins]


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Court]:
    late: list[None] = []
    real = EnvoySettings("test", directory / "run", directory / "logs", str(directory / "unused.sock"))
    trial = Trial(trial_settings(real), lambda: late.append(None))
    async with background(("trial", trial.run)):
        yield Court(trial, late)


def plugin(module: Path, layer: ir.PluginLayer = "http", root_id: str = "probe", **config: str) -> ir.Plugin:
    text = json.dumps(config, separators=(",", ":")) if config else ""
    return ir.Plugin("p", layer, ir.Wasm(str(module), root_id=root_id, configuration=text))


async def test_modules_of_both_layers_pass(tmp_path: Path, probe: Path, close_module: Path) -> None:
    async with running(tmp_path) as court:
        http, network = plugin(probe, header="1"), plugin(close_module, "network")
        assert await court.judge(http, network) == [PASSED, PASSED]
        assert court.trial.verdict(ir.Plugin("q", "http", "deny")) == PASSED
        assert court.trial.statistics() == {"wanted": 0, "verdicts": 2}


async def test_a_module_that_refuses_to_start_is_refused(tmp_path: Path, repository: Path) -> None:
    text = (repository / "tests" / "wasm" / "close.wat").read_text()
    start = '(func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))'
    assert start in text
    module = tmp_path / "stays-off.wasm"
    module.write_bytes(wasmtime.wat2wasm(text.replace(start, start.replace("i32.const 1", "i32.const 0"))))
    async with running(tmp_path) as court:
        [reason] = await court.judge(plugin(module, "network"))
        assert reason


async def test_a_refusal_comes_with_the_modules_own_words(tmp_path: Path, probe: Path) -> None:
    async with running(tmp_path) as court:
        [reason] = await court.judge(plugin(probe, refuse="the key is missing"))
        assert reason
        assert reason.startswith("refused: the key is missing")
        [reason] = await court.judge(plugin(probe, root_id="absent"))
        assert "Missing root context factory for root id: absent" in str(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not wasm at all", "Failed to load Wasm code"),
        (b"\0asm\1\0\0\0 truncated", "corrupted Wasm module"),
        (b"\0asm\1\0\0\0", "unknown Proxy-Wasm ABI version"),
    ],
)
async def test_what_is_no_module_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    bad = tmp_path / "bad.wasm"
    bad.write_bytes(content)
    async with running(tmp_path) as court:
        [verdict] = await court.judge(plugin(bad))
        assert reason in str(verdict)


async def test_a_module_that_never_comes_back_is_refused_and_the_next_is_tried(
    tmp_path: Path, probe: Path, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr("skerry.gateway.trial.TRIAL_SECONDS_MAX", 1.0)
    async with running(tmp_path) as court:
        looping = plugin(probe, loop="forever")
        assert await court.judge(looping, wait_seconds=0.05) == [None]
        assert await court.judge(looping, wait_seconds=WAIT_SECONDS) == [None], "one that was waited for is not again"
        await until(lambda: court.trial.verdict(looping))
        monkeypatch.undo()
        refused, passed = await court.judge(looping, plugin(probe, header="1"))
        assert "did not come back" in str(refused)
        assert passed == PASSED
        await until(lambda: len(court.late) == 1)


async def test_a_plugin_that_nobody_wants_any_more_is_not_tried(tmp_path: Path, probe: Path) -> None:
    async with running(tmp_path) as court:
        unwanted, wanted = plugin(probe, header="unwanted"), plugin(probe, header="wanted")
        async with asyncio.TaskGroup() as group:
            group.create_task(court.judge(unwanted, wait_seconds=0.0))
        assert await court.judge(wanted) == [PASSED]
        assert court.trial.statistics()["wanted"] == 0
