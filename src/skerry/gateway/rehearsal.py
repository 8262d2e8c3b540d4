"""One plugin on one request, in a private Envoy: what it changes, and what it says.

The request is sent twice, past the plugin and through it, to an upstream that answers every request alike. So the
difference is the plugin's doing, whatever Envoy itself adds.

Owns the private Envoy for the length of `rehearse`, and what is read from its log. Does not own how it is told.

Invariant: it ends within the times below, whatever the module does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from skerry.gateway import ir
from skerry.gateway.envoy import run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.envoy_config import EdgeSettings
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.errors import NotApplied
from skerry.gateway.sample_upstream import BODY_BYTES_MAX, Headers, Message, SampleUpstream, serve_sample_upstream
from skerry.gateway.snapshot import Snapshot
from skerry.gateway.trial import START_SECONDS_MAX, TRIAL_SECONDS_MAX, reason_in
from skerry.gateway.xds import XdsServer, check_socket_path, serve_xds
from skerry.kit.deadlines import within
from skerry.kit.tls import no_trust

LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
#: How long the sample request may take.
EXCHANGE_SECONDS_MAX = 10.0
#: What of Envoy's log is read.
LOG_BYTES_MAX = 1024 * 1024

_NAME = "rehearsal"
_PAST, _THROUGH = "past", "through"
_LINE = re.compile(
    r"^\[[^\]]+\]\[(?P<thread>\d+)\]\[(?P<level>\w+)\]\[wasm\] \[[^\]]+\] "
    r"(?P<own>wasm log[^:]*: )?(?P<words>.*?)(?=^\[\d{4}-|\Z)",
    re.MULTILINE | re.DOTALL,
)
_TRAP = re.compile(r"^Function: \S+ failed")
#: Levels below which Envoy's own words about a module are of no interest to its author.
_QUIET = frozenset({"trace", "debug", "info"})


@dataclass(frozen=True, slots=True)
class Sample:
    """What is sent, and what the upstream answers.

    Attributes:
        request: its headers have a `host`.
        response: what the upstream answers.
    """

    request: Message
    response: Message


@dataclass(frozen=True, slots=True)
class Exchange:
    """One way of a request.

    Attributes:
        asked: what the upstream was asked; None where it was not.
        answered: what the client got; None where it got no response.
    """

    asked: Message | None
    answered: Message | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """What the module said, or what Envoy said of it."""

    level: str
    words: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How it went.

    Attributes:
        past: the exchange without the plugin.
        through: the exchange with it; None where the proxy refused the module.
        refusal: why the proxy refused the module, or "".
        trap: how the module failed on the request, or "".
        log: in order.
    """

    past: Exchange
    through: Exchange | None
    refusal: str
    trap: str
    log: tuple[LogLine, ...]


async def rehearse(
    layer: ir.PluginLayer, module: ir.Wasm, sample: Sample, directory: Path, *, log_level: str
) -> Rehearsal:
    """Run a plugin on a request.

    Args:
        layer: where the plugin filters.
        module: the plugin.
        sample: the request and the upstream's answer.
        directory: an empty one of this call's own, whose path is short (it holds Unix sockets).
        log_level: the least level of the lines in the log: one of `LOG_LEVELS`.

    Raises:
        StartError: the private Envoy did not start, or the directory's path is too long.
    """
    settings = EnvoySettings(
        _NAME,
        directory / "run",
        directory / "logs",
        str(directory / "xds.sock"),
        concurrency=1,
        drain_seconds=1.0,
        log_flush_seconds=0.01,
        plugin_log_level=log_level,
    )
    check_socket_path(settings.admin_socket)  # the longest one: the others fit too
    socket = directory / "upstream.sock"
    async with serve_sample_upstream(socket, sample.response) as upstream, serve_xds(settings.xds_socket) as xds:
        xds.set_snapshot(_snapshot(layer, "allow", socket, settings))
        async with run_envoy(settings) as envoy:
            await envoy.ready(timeout_seconds=START_SECONDS_MAX)
            addresses = await envoy.listener_addresses()
            past = await _exchange(addresses[_PAST], sample.request, upstream)
            refusal = await _configure(xds, _snapshot(layer, module, socket, settings))
            through = None if refusal else await _exchange(addresses[_THROUGH], sample.request, upstream)
            if through is None or through.answered is None:
                envoy.kill()  # it may hang, and has nothing to drain
    words = _read(settings.log_file)  # all is written by now
    log = tuple(_lines(words))
    trap = next((line.words for line in log if _TRAP.match(line.words)), "")
    return Rehearsal(past, through, (reason_in(words) or refusal) if refusal else "", "" if refusal else trap, log)


async def _configure(xds: XdsServer, snapshot: Snapshot) -> str:
    """Give the plugin to Envoy; returns why it is refused, or ""."""
    try:
        refused = await xds.wait_until_applied(xds.set_snapshot(snapshot), timeout_seconds=TRIAL_SECONDS_MAX)
    except NotApplied:
        return f"the module did not come back from its configuration within {TRIAL_SECONDS_MAX:g} s, or crashed"
    return refused[0].message if refused else ""


async def _exchange(address: str, request: Message, upstream: SampleUpstream) -> Exchange:
    """Send a request as it is: with no header that a client library would add."""
    upstream.asked.clear()
    method, _, target = request.start.partition(" ")
    content = request.body or None
    sent = httpx.Request(method, f"http://{address}{target}", headers=list(request.headers), content=content)
    answered = None
    try:
        with within(EXCHANGE_SECONDS_MAX):
            async with httpx.AsyncHTTPTransport(verify=no_trust()) as transport:
                answered = await _answer(await transport.handle_async_request(sent))
    except (TimeoutError, httpx.TransportError):
        pass  # no answer: that is what is told
    return Exchange(upstream.asked[0] if upstream.asked else None, answered)


async def _answer(response: httpx.Response) -> Message:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part[: BODY_BYTES_MAX - len(body)]
    await response.aclose()
    headers: Headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
    return Message(str(response.status_code), headers, bytes(body))


def _snapshot(
    layer: ir.PluginLayer, content: ir.Wasm | ir.StandIn, upstream: Path, settings: EnvoySettings
) -> Snapshot:
    """Write two listeners on free ports in front of one upstream, one of them with the plugin."""
    plugin = ir.Plugin(_NAME, layer, content)
    use = (ir.PluginUse(_NAME, "deny"),)
    chains = {
        _PAST: ir.Chain(_NAME),
        _THROUGH: ir.Chain(
            _NAME,
            network_plugins=use if layer == "network" else (),
            http_filters=use if layer == "http" else (),
        ),
    }
    action = ir.Forward((ir.Destination(_NAME),), timeout_seconds=EXCHANGE_SECONDS_MAX)
    host = ir.VirtualHost("*", (ir.Route(_NAME, ir.EVERYTHING, action),))
    model = ir.Ir(
        bindings=tuple(ir.Binding(name, _NAME, "127.0.0.1", 0, (chain,)) for name, chain in chains.items()),
        tables=(ir.RouteTable(_NAME, (host,)),),
        clusters=(ir.EngineCluster(_NAME, (str(upstream),)),),
        plugins=ir.plugins_by_name([plugin]),
    )
    return build_snapshot(model, EdgeSettings(access_log=str(settings.access_log)))


def _lines(words: str) -> Iterator[LogLine]:
    """Yield what was said of and by the module.

    Envoy starts a module on its main thread first, and again on the worker that takes requests: what both say of the
    start is told once, as the worker says it.
    """
    found = [line for line in _LINE.finditer(words) if line["own"] or line["level"] not in _QUIET]
    threads = list(dict.fromkeys(line["thread"] for line in found))
    repeated = {line["words"] for line in found if line["thread"] == threads[-1]} if len(threads) > 1 else set()
    for line in found:
        if line["thread"] == threads[-1] or line["words"] not in repeated:
            yield LogLine(line["level"], line["words"].strip())


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LOG_BYTES_MAX).decode(errors="replace")
