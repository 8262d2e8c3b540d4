"""Where plugins are tried first: a private Envoy that serves nobody.

A module is foreign code, and Envoy starts it on its main thread: one that never comes back from its configuration
would keep the real Envoy from every later change, and one that crashes would end it. So each module is configured here
first, and the real Envoy is given what passed. What is said on the way tells the owner why, in more words than the
real Envoy's refusal has.

Owns the private Envoy, which runs from the first plugin on, and the verdicts. Does not own what is done about them.

Invariant: a trial ends within `TRIAL_SECONDS_MAX`, whatever the module does; the Envoy that it broke is replaced.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from prometheus_client import Counter

from skerry.gateway import ir
from skerry.gateway.chain_tables import served_name
from skerry.gateway.envoy import Envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.envoy_config import EdgeSettings, listener
from skerry.gateway.envoy_plugins import extension
from skerry.gateway.envoy_routes import route_configuration
from skerry.gateway.errors import NotApplied
from skerry.gateway.snapshot import Snapshot, pack
from skerry.gateway.verdicts import PASSED, Verdicts
from skerry.gateway.xds import XdsServer, serve_xds
from skerry.kit.logs import get_logger

log = get_logger(__name__)
TRIALS = Counter("skerry_plugin_trials_total", "Plugins that were tried, by result.", ["result"])

#: A big module takes seconds to compile; one that takes longer would keep the real Envoy's main thread as long.
TRIAL_SECONDS_MAX = 10.0
#: How long the private Envoy may take to start.
START_SECONDS_MAX = 30.0
#: What of Envoy's words is handed on.
REASON_CHARACTERS_MAX = 2000
#: How long Envoy's words may take to be in its log.
WORDS_SECONDS_MAX = 0.5
_WORDS_POLL_SECONDS = 0.01

_NAME = "trial"
_WASM_LINE = re.compile(r"^\[[^\]]+\]\[\d+\]\[\w+\]\[wasm\] \[[^\]]+\] (?:wasm log [^:]*: )?(.*)$", re.MULTILINE)
#: The last line that Envoy writes of a plugin that failed.
_LAST_WORDS = "failed to load"


def trial_settings(real: EnvoySettings) -> EnvoySettings:
    """Return how the private Envoy runs beside a real one: in folders of its own, with one thread, and few logs."""
    run_directory = real.run_directory / "try"
    return replace(
        real,
        node_id=f"{real.node_id}-trial",
        run_directory=run_directory,
        log_directory=real.log_directory / "trial",
        xds_socket=str(run_directory / "xds.sock"),
        concurrency=1,
        drain_seconds=1.0,
        log_flush_seconds=0.01,
        log_bytes_max=1024 * 1024,
    )


Subject: TypeAlias = tuple[ir.PluginLayer, ir.Wasm]
"""What is tried: a module with everything that it is given; its name and place don't matter."""


class Trial:
    """The private Envoy; `run` is its life.

    Args:
        settings: how it runs; its folders belong to it alone.
        on_late_verdict: called when a verdict is there that `judge` did not wait for.
    """

    def __init__(self, settings: EnvoySettings, on_late_verdict: Callable[[], None]) -> None:
        self._settings = settings
        self._verdicts: Verdicts[Subject] = Verdicts(on_late_verdict)

    def verdict(self, plugin: ir.Plugin) -> str | None:
        """Return why a plugin was refused, `PASSED`, or None while it is not tried; all but modules pass."""
        subject = _subject(plugin)
        return PASSED if subject is None else self._verdicts.get(subject)

    async def judge(self, plugins: Iterable[ir.Plugin], *, wait_seconds: float) -> None:
        """Have plugins tried, and wait a while for the verdicts of those that are new."""
        subjects = {subject for plugin in plugins if (subject := _subject(plugin)) is not None}
        await self._verdicts.judge(subjects, wait_seconds=wait_seconds)

    async def run(self) -> None:
        """Wait for the first plugin, then run the private Envoy and try one after the other; never returns."""
        await self._verdicts.next()
        settings = self._settings
        settings.run_directory.mkdir(parents=True, exist_ok=True)
        async with serve_xds(settings.xds_socket) as xds:
            xds.set_snapshot(_snapshot(None, settings))
            async with run_envoy(settings) as envoy:
                await envoy.ready(timeout_seconds=START_SECONDS_MAX)
                while True:
                    await self._try(await self._verdicts.next(), xds, envoy)

    async def _try(self, subject: Subject, xds: XdsServer, envoy: Envoy) -> None:
        words_before = _size(self._settings.log_file)
        generation = xds.set_snapshot(_snapshot(subject, self._settings))
        try:
            refused = await xds.wait_until_applied(generation, timeout_seconds=TRIAL_SECONDS_MAX)
            verdict = await self._reason(words_before, refused[0].message) if refused else PASSED
        except NotApplied:
            verdict = f"the module did not come back from its configuration within {TRIAL_SECONDS_MAX:g} s, or crashed"
            xds.set_snapshot(_snapshot(None, self._settings))
            envoy.kill()
            await envoy.ready(timeout_seconds=START_SECONDS_MAX)
        TRIALS.labels("refused" if verdict else "passed").inc()
        await self._verdicts.conclude(subject, verdict)

    async def _reason(self, words_before: int, refusal: str) -> str:
        """Return what Envoy and the module said of the refusal; both write to Envoy's log, which lags a little."""
        words = ""
        for _ in range(round(WORDS_SECONDS_MAX / _WORDS_POLL_SECONDS)):
            words = _read(self._settings.log_file, words_before)
            if _LAST_WORDS in words:
                break
            await asyncio.sleep(_WORDS_POLL_SECONDS)
        return reason_in(words) or refusal

    def statistics(self) -> dict[str, int]:
        """Return how many plugins wait for their trial, and how many verdicts are known."""
        return self._verdicts.statistics()


def reason_in(words: str) -> str:
    """Return what the log says of a module that failed: its own words first, each once."""
    lines = [line for line in _WASM_LINE.findall(words) if line and _LAST_WORDS not in line]
    return "; ".join(dict.fromkeys(lines))[:REASON_CHARACTERS_MAX]


def _subject(plugin: ir.Plugin) -> Subject | None:
    return (plugin.layer, plugin.filter) if isinstance(plugin.filter, ir.Wasm) else None


def _snapshot(subject: Subject | None, settings: EnvoySettings) -> Snapshot:
    """Write a listener that binds no port, and the plugin of each layer that it names."""
    uses = {"network": f"{_NAME}/network", "http": _NAME}
    chain = ir.Chain(
        _NAME,
        network_plugins=(ir.PluginUse(uses["network"], "deny"),),
        http_filters=(ir.PluginUse(uses["http"], "deny"),),
    )
    message = listener(
        ir.Binding(_NAME, _NAME, "127.0.0.1", 1, (chain,)), EdgeSettings(access_log=str(settings.access_log))
    )
    message.bind_to_port.value = False
    layers: tuple[ir.PluginLayer, ...] = ("network", "http")
    plugins = [
        ir.Plugin(uses[layer], layer, subject[1] if subject and subject[0] == layer else "deny") for layer in layers
    ]
    table = ir.RouteTable(served_name(chain), ())
    named = [pack(table.name, route_configuration(table)), *(pack(p.name, extension(p)) for p in plugins)]
    users = {(resource.type_url, resource.name): frozenset({_NAME}) for resource in named}
    return Snapshot.of([pack(_NAME, message), *named], users)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, start: int) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(64 * 1024).decode(errors="replace")
