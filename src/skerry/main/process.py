"""A process of Skerry that runs until it is told to stop.

Owns the data directory's lock and note, and what the service manager is told. Does not own what runs, nor how it is
told to stop (`ending`).

Invariant: `when_ready` is called once every port is bound and a request would be answered; a start that fails raises
StartError after everything that had started is stopped again.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from skerry.kit.errors import StartError
from skerry.kit.systemd import READY, STOPPING, notify
from skerry.main import data_dir as directories
from skerry.main.configuration import Settings, log_settings
from skerry.main.data_dir import DataDir
from skerry.main.ending import END_SECONDS_MAX, ended_by_signals

#: Parts that take their time to drain one after the other: three servers, Envoy, the engine workers.
DRAINS = 5


@dataclass(frozen=True, slots=True)
class Running:
    """Where a ready Skerry is reached.

    Attributes:
        http_url: its gateway; "" without one.
    """

    api_url: str
    http_url: str
    kubeconfig: Path


#: Starts what runs, and stops it.
Parts = Callable[[Settings, DataDir], AbstractAsyncContextManager[Running]]


async def run_process(settings: Settings, parts: Parts, when_ready: Callable[[Running], Awaitable[None]]) -> None:
    """Run until SIGTERM or SIGINT; then drain and return.

    Args:
        settings: what is set.
        parts: what runs.
        when_ready: called once, when everything is ready.

    Raises:
        StartError: a part could not start.
    """
    # Taken away: what is started here is not to speak for us.
    manager = os.environ.pop("NOTIFY_SOCKET", "")
    log_settings(settings).configure()
    os.umask(0o077)  # what is kept here is nobody else's business: env values, logs, artifacts
    end_seconds_max = END_SECONDS_MAX + DRAINS * settings.drain_seconds
    try:
        with ended_by_signals(end_seconds_max) as told, directories.opened(settings.data_dir) as data_dir:
            async with parts(settings, data_dir) as running:
                directories.write_run_note(data_dir, api=running.api_url, http=running.http_url)
                try:
                    await when_ready(running)
                    notify(READY, manager)
                    await told.wait()
                finally:
                    notify(STOPPING, manager)
                    data_dir.run_note.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"a file or a socket can't be used: {error}") from error
