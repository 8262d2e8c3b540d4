"""Where the filters of functions are tried first: an Envoy of their own that validates one configuration and ends.

Native code can do anything to the process that loads it, at once or later, so that no verdict on anything else may come
from that process: each trial has a fresh one. In it every symbol is bound at load (`LD_BIND_NOW`): the real Envoy binds
a function when it is called first, and one that is missing then would end it.

Owns the process, and what its words mean. Does not own what is done about a verdict.

Invariants: a trial ends within `TRIAL_SECONDS_MAX`, whatever the code does, with the process and its children; code has
passed only where Envoy itself says that the configuration is in order.
"""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm

from skerry.gateway import ir
from skerry.gateway.envoy import find_envoy
from skerry.gateway.envoy_plugins import extension
from skerry.gateway.envoy_routes import route_configuration
from skerry.gateway.envoy_words import any_of
from skerry.gateway.filter_slots import FilterContent
from skerry.gateway.trial import REASON_CHARACTERS_MAX, TRIAL_SECONDS_MAX, TRIALS, reason_in
from skerry.gateway.verdicts import PASSED, Verdicts
from skerry.kit.deadlines import within
from skerry.kit.killing import kill_group, started_group
from skerry.kit.processes import bound_to_this

#: What Envoy's ABI is for which modules may be built: its own, and the minor version before, for which Envoy vouches
#: (`ENVOY_DYNAMIC_MODULES_ABI_VERSION` in its abi.h). Envoy loads any, with a warning.
ABI_VERSION = (0, 2)
#: Of what Envoy says about a trial; it says less, unless the code says more.
OUTPUT_BYTES_MAX = 64 * 1024

_NAME = "trial"
_PROCESS = "filter-trial"
_ABI_LINE = re.compile(r"Dynamic module ABI version (.*) (?:matched|is deprecated)")
_ABI_FORM = re.compile(r"v(\d{1,9})\.(\d{1,9})\.\d{1,9}")
_IN_ORDER = re.compile(r"^configuration '.*' OK\s*$", re.MULTILINE)
_REFUSAL = re.compile(r"error initializing configuration '[^']*': (.*?)(?=^\[\d{4}-|\Z)", re.MULTILINE | re.DOTALL)
_NO_GO_FILTER = "Didn't find a registered implementation"


class FilterTrial:
    """Tries filters one after the other; `run` is its life.

    Args:
        on_late_verdict: called when a verdict is there that `judge` did not wait for.
    """

    def __init__(self, on_late_verdict: Callable[[], None]) -> None:
        self._verdicts: Verdicts[FilterContent] = Verdicts(on_late_verdict)

    def verdict(self, content: FilterContent) -> str | None:
        """Return why a filter was refused, `PASSED`, or None while it is not tried."""
        return self._verdicts.get(content)

    async def judge(self, contents: Collection[FilterContent], *, wait_seconds: float) -> None:
        """Have filters tried, and wait a while for the verdicts of those that are new."""
        await self._verdicts.judge(contents, wait_seconds=wait_seconds)

    async def run(self) -> None:
        """Try whatever is wanted; never returns."""
        while True:
            content = await self._verdicts.next()
            await self._verdicts.conclude(content, await tried(content))


async def tried(content: FilterContent) -> str:
    """Try a filter in a process of its own; return why it is refused, or `PASSED`."""
    with tempfile.TemporaryDirectory(prefix="skerry-trial-") as directory:
        path = Path(directory) / "bootstrap.pb"
        path.write_bytes(_bootstrap(content).SerializeToString(deterministic=True))
        code, words = await _validated(path)
    verdict = verdict_on(code, words)
    TRIALS.labels("refused" if verdict else "passed").inc()
    return verdict


def verdict_on(code: int | None, words: str) -> str:
    """Return what an Envoy's end means; pure.

    Args:
        code: its exit code, negative for the signal that ended it; None where it did not end in time.
        words: what it said.
    """
    if code is None:
        return f"Envoy did not come back from loading the code within {TRIAL_SECONDS_MAX:g} s"
    if code < 0:
        return f"Envoy crashed as it loaded the code ({_signal_name(-code)})"
    if refusal := _REFUSAL.search(words):
        if _NO_GO_FILTER in refusal[1]:
            return "this Envoy has no Go filter, which is one of its contrib extensions: build a dynamic module instead"
        return (reason_in(words) or " ".join(refusal[1].split()))[:REASON_CHARACTERS_MAX]
    if code or not _IN_ORDER.search(words):
        return f"Envoy ended with exit code {code} as it loaded the code, and gave no reason"
    version = _ABI_LINE.search(words)
    return _abi_problem(version[1]) if version else PASSED


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals most have no name
        return f"signal {number}"


def _abi_problem(version: str) -> str:
    major, minor = ABI_VERSION
    form = _ABI_FORM.fullmatch(version)
    if form and int(form[1]) == major and minor - 1 <= int(form[2]) <= minor:
        return PASSED
    return (
        f"the code is built for version {version[:64]} of Envoy's ABI, and this Envoy has v{major}.{minor}: "
        "build it anew with the SDK, or the abi.h, of that version"
    )


async def _validated(bootstrap: Path) -> tuple[int | None, str]:
    """Run an Envoy that only looks at its configuration; return its exit code, None for too late, and its words."""
    starting = asyncio.create_subprocess_exec(
        *bound_to_this(),
        str(find_envoy()),
        *("--mode", "validate", "--config-path", str(bootstrap), "--log-level", "info"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # a process group of its own, so that its children end with it
        env={**os.environ, "LD_BIND_NOW": "1"},  # noqa: TID251 - handed on as the real Envoy has it, not read
    )
    process = await started_group(_PROCESS, starting)
    try:
        with within(TRIAL_SECONDS_MAX):
            words = await _beginning(process.stdout)
            return await process.wait(), words.decode(errors="replace")
    except TimeoutError:
        return None, ""
    finally:
        await kill_group(process, _PROCESS)


async def _beginning(stream: asyncio.StreamReader | None) -> bytes:
    """Read a stream to its end, and return its first bytes."""
    content = bytearray()
    while stream is not None and (chunk := await stream.read(OUTPUT_BYTES_MAX)):
        content += chunk[: OUTPUT_BYTES_MAX - len(content)]
    return bytes(content)


def _bootstrap(content: FilterContent) -> Bootstrap:
    """Write a listener that binds no port, with the filter and one route that turns it on."""
    use = ir.FilterUse(_NAME, content.use)
    route = ir.Route(_NAME, ir.EVERYTHING, ir.Respond(200), filters=(use,))
    table = ir.RouteTable(_NAME, (ir.VirtualHost("*", (route,)),))
    address = Address(socket_address=SocketAddress(address="127.0.0.1", port_value=1))
    chain = FilterChain(filters=[_connection_manager(content, route_configuration(table))])
    listener = Listener(name=_NAME, address=address, filter_chains=[chain])
    listener.bind_to_port.value = False
    message = Bootstrap()
    message.static_resources.listeners.append(listener)
    return message


def _connection_manager(content: FilterContent, routes: RouteConfiguration) -> Filter:
    config = extension(ir.Plugin(_NAME, "http", content.filter)).typed_config
    filters = [
        hcm.HttpFilter(name=_NAME, disabled=True, typed_config=config),
        hcm.HttpFilter(name="envoy.filters.http.router", typed_config=any_of(Router())),
    ]
    manager = hcm.HttpConnectionManager(stat_prefix=_NAME, route_config=routes, http_filters=filters)
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=any_of(manager))


__all__ = ["ABI_VERSION", "FilterTrial", "tried", "verdict_on"]
