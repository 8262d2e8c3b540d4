"""`skerry agent`: runs a node of a fleet, and tells how it is."""

import os
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import uvloop
import yaml
from rich.table import Table

from skerry.agent.member.settings import STATUS_FILE, read_settings
from skerry.cli.log_flags import LogLevelFlag, LogStyleFlag
from skerry.cli.printing import out
from skerry.kit.errors import ConfigurationError, SkerryError

DEFAULT_CONFIG = Path("/var/lib/skerry-agent/agent.json")

agent = typer.Typer(invoke_without_command=True, no_args_is_help=False)
ConfigFlag = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="agent.json, as the install command wrote it.")
]


@agent.callback()
def run(
    context: typer.Context,
    config: ConfigFlag = DEFAULT_CONFIG,
    fingerprint: Annotated[
        str, typer.Option(metavar="VALUE", help="What tells this device, where its product asks a person for that.")
    ] = "",
    log_level: LogLevelFlag = None,
    log_style: LogStyleFlag = None,
) -> None:
    """Run this machine as a node of a fleet, until Ctrl-C or SIGTERM.

    The install command of a node (GET /v1/nodes/NAME/init) or of a product (GET /v1/register/NAME/init) writes the
    configuration and starts this. A device of a product proves first which one it is. The node then keeps its
    applications as its control plane wants them, and without it as they were wanted last.
    """
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    from skerry.main.agent import run_agent
    from skerry.main.log_settings import read_log_settings

    logged = read_log_settings({"log_level": log_level, "log_style": log_style}, os.environ)
    uvloop.run(run_agent(config, fingerprint, logged, lambda name: out.print(f"ready: node {name}")))


@agent.command()
def status(
    context: typer.Context,
    output: Annotated[str, typer.Option("--output", "-o", help="table, json or yaml.")] = "table",
) -> None:
    """Tell how the node of this machine is, and its applications."""
    told = _told(context.obj)
    told["running"] = _is_running(told["pid"])
    match output:
        case "json":
            out.print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        case "yaml":
            out.print(yaml.safe_dump(told, sort_keys=False).rstrip())
        case "table":
            _print(told)
        case _:
            raise ConfigurationError(f"--output: {output!r} is not one of table, json, yaml")


def _told(config: Path) -> dict[str, Any]:
    path = read_settings(config).data_dir / STATUS_FILE
    try:
        told: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise SkerryError(f"no agent has run here yet: start one with `skerry agent --config {config}`") from error
    except OSError as error:
        raise SkerryError(f"{path} can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise SkerryError(f"{path} is damaged, and written anew by an agent that runs: {error}") from error
    return told


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _print(told: dict[str, Any]) -> None:
    state = f"runs (process {told['pid']})" if told["running"] else "does not run"
    out.print(f"node {told['node']}: the agent {state}")
    out.print(f"last report taken: {told['reportedAt'] or 'none since its start'}")
    table = Table("APPLICATION", "VERSION", "STATUS", "INSTANCES", "CAUSE", box=None, pad_edge=False)
    for each in told["applications"]:
        count = str(len(each["instances"]))
        table.add_row(each["name"], each["version"], each["status"], count, each["cause"])
    if told["applications"]:
        out.print(table)
    gateways = told["gateways"]
    if gateways["names"]:
        cause = f": {gateways['cause']}" if gateways["cause"] else ""
        out.print(f"gateways: {', '.join(gateways['names'])} ({gateways['state']}{cause})")
