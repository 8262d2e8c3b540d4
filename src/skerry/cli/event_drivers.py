"""`skerry event-driver ...`, `skerry event-driver-type ...`: clocks and programs that events come from."""

import uuid
from typing import Annotated

import typer

from skerry.api.dispatch_drivers import EVENT_DRIVER, EVENT_DRIVER_TYPE
from skerry.api.model import Document
from skerry.cli.dispatch import NamespaceFlag, ask
from skerry.cli.dispatch_objects import ApplicationFlag, add_commands, make, tags_of
from skerry.cli.printing import out
from skerry.cli.session import DataDirFlag, KubeconfigFlag
from skerry.kit.errors import ConfigurationError

_TYPES = "event/drivertypes"

drivers = typer.Typer(
    help="""Event drivers: clocks and programs that events come from.

    A clock needs nothing more: skerry event-driver create cron --name hourly --set 'cron=0 * * * *' --set
    event-type=report.due; skerry subscription create report --event-type report.due. A program is named by a type
    first: see skerry event-driver-type --help.
    """,
    no_args_is_help=True,
)
types = typer.Typer(
    help="""Event driver types: programs beside the control plane that post events. cron is built in.

    For example: skerry event-driver-type create mqtt --set port=1883 -- /usr/local/bin/mqtt-events --verbose;
    skerry event-driver create mqtt --set host=broker.example --secret mqtt-password. Each driver runs the program with
    its settings as --key=value, its secrets in the environment, and in K_SINK the address that it posts events to.
    """,
    no_args_is_help=True,
)
add_commands(drivers, EVENT_DRIVER, "event/drivers", "event driver", deleting="Its program ends, or its clock stops.")
add_commands(types, EVENT_DRIVER_TYPE, _TYPES, "event driver type", deleting="Drivers of it end.")

SettingFlag = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="A setting of it. Repeatable.")
]


@drivers.command("create")
def create(
    driver_type: Annotated[str, typer.Argument(metavar="TYPE", help="cron, or a type that was made.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Default: made of the type's.")] = "",
    setting: SettingFlag = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="NAME", help="Its values are in the program's environment. Repeatable."),
    ] = None,
    application: ApplicationFlag = "",
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Start a driver, and wait until it runs.

    Settings of cron: cron (five fields), time-zone, event-type (cron.trigger).
    """
    body: Document = {
        "name": name or f"{driver_type}-{uuid.uuid4().hex[:8]}",
        "type": driver_type,
        "config": _config(setting),
        "secrets": secret,
        "tags": tags_of(application),
    }
    make(kubeconfig, data_dir, namespace, "event/drivers", body)
    out.print(f"Created event driver: {body['name']}")


@types.command("create")
def create_type(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and dashes.")],
    command: Annotated[list[str], typer.Argument(metavar="PROGRAM", help="Its path and first arguments; after --.")],
    setting: SettingFlag = None,
    namespace: NamespaceFlag = "default",
    data_dir: DataDirFlag = None,
    kubeconfig: KubeconfigFlag = None,
) -> None:
    """Name a program that drivers run; only cluster administrators may."""
    body: Document = {"name": name, "command": command, "config": _config(setting)}
    ask(kubeconfig, data_dir, namespace, ("POST", _TYPES), body=body)
    out.print(f"Created event driver type: {name}")


def _config(settings: list[str] | None) -> list[Document] | None:
    pairs = [text.partition("=") for text in settings or ()]
    if wrong := [key for key, equals, _ in pairs if not key or not equals]:
        raise ConfigurationError(f"--set: {wrong[0]!r} must be KEY=VALUE")
    return [{"key": key, "value": value} for key, _, value in pairs] or None
