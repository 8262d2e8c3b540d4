"""What the files of deploy/ are held against: the commands and the settings that there are."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from skerry.cli.app import app
from skerry.main.configuration import Settings, load_settings
from skerry.main.setting_values import ENVIRONMENT_PREFIX

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


def require_command(arguments: Sequence[str]) -> None:
    """Insist that `skerry ARGUMENTS` is a command with these flags."""
    name, *rest = arguments
    commands = typer.main.get_group(app).commands
    if name not in commands:
        raise AssertionError(f"there is no `skerry {name}`")
    commands[name].make_context(f"skerry {name}", rest)


def require_settings(environment: Mapping[str, str]) -> Settings:
    """Insist that an environment holds settings only, with values that fit; what compose puts in counts as nothing."""
    known = {ENVIRONMENT_PREFIX + item.name.upper() for item in dataclasses.fields(Settings)}
    if unknown := environment.keys() - known:
        raise AssertionError(f"no settings of Skerry: {sorted(unknown)}")
    return load_settings({}, {name: re.sub(r"\$\{[^}]*\}", "", value) for name, value in environment.items()})
