"""deploy/systemd: units that systemd takes, and that start Skerry with what it knows."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from skerry.server import baetyl
from skerry.testing.deployed import DEPLOY, require_command, require_settings

PROGRAM = "/usr/local/bin/skerry"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def service_of(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parser.read(unit)
    return parser["Service"]


def test_there_is_a_unit_for_each_way_to_run():
    assert [unit.name for unit in UNITS] == ["skerry-serve.service", "skerry-up.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_skerry_with_flags_and_settings_that_it_knows(unit: Path):
    service = service_of(unit)
    assert service["Type"] == "notify"
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    require_command(arguments)
    require_settings(dict(pair.split("=", 1) for pair in shlex.split(service["Environment"])))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_tells_no_database_where_others_can_read_it(unit: Path):
    service = service_of(unit)
    assert "database" not in service["ExecStart"].lower()
    assert "DATABASE" not in service["Environment"]


def verify(unit: Path) -> None:
    """Have systemd look at a unit, whose program is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on the PATH: the unit was only parsed")
    # It warns, and exits with 0, where a directive is unknown.
    verdict = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)  # noqa: PLW1510
    mine = [line for line in verdict.stderr.splitlines() if unit.name in line]
    assert not mine, "\n".join(mine)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path):
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace(PROGRAM, shutil.which("true") or "/bin/true"))
    verify(installed)


def test_systemd_takes_the_unit_that_installs_an_agent_and_starts_it_anew_each_time(tmp_path: Path):
    script = Path(baetyl.__file__).with_name("setup.sh").read_text()
    start = re.search(r"^start_with_systemd\(\) \{\n.*?^\}\n", script, re.MULTILINE | re.DOTALL)
    assert start
    units, home = tmp_path / "units", tmp_path / "a home"
    for program in (home / "bin" / "skerry", tmp_path / "bin" / "systemctl"):
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/asked"\n')
        program.chmod(0o700)
    units.mkdir()
    (tmp_path / "start.sh").write_text(
        f"set -eu\nunit=skerry-agent.service\nhome='{home}'\n"
        + start[0].replace("/etc/systemd/system", str(units))
        + "start_with_systemd\n"
    )
    for _ in range(2):
        environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
        subprocess.run(["sh", tmp_path / "start.sh"], env=environment, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["daemon-reload", "enable skerry-agent.service", "restart skerry-agent.service"] * 2
    command = shlex.split(service_of(units / "skerry-agent.service")["ExecStart"])
    assert command[0] == str(home / "bin" / "skerry")
    require_command(command[1:])
    verify(units / "skerry-agent.service")
