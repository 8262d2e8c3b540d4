"""`skerry agent`: a node of a fleet, for the length of the process."""

import os
from collections.abc import Callable
from pathlib import Path

from skerry.agent.member.member import run_member
from skerry.agent.member.settings import read_settings
from skerry.kit.clock import SystemClock
from skerry.main.data_dir import opened
from skerry.main.ending import ended_by_signals
from skerry.main.log_settings import LogSettings
from skerry.main.machine import machine_of


async def run_agent(config: Path, entered: str, log_settings: LogSettings, when_ready: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM.

    Args:
        config: agent.json.
        entered: the fingerprint that a person gave; "" for none.
        log_settings: what is logged, and how.
        when_ready: called with this node's name once it is who it is, and begins to run what it ran before.

    Raises:
        ConfigurationError: something in agent.json is wrong.
        StartError: another process has the data directory, or what is in it can't be read.
    """
    settings = read_settings(config)
    log_settings.configure()
    os.umask(0o077)
    with ended_by_signals() as told, opened(settings.data_dir):
        async with run_member(settings, machine_of(settings), SystemClock(), entered=entered) as member:
            when_ready(member.name)
            await told.wait()
