"""deploy/systemd: units that systemd takes, and that start Skerry with what it knows."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on the PATH: the unit was only parsed")
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace(PROGRAM, shutil.which("true") or "/bin/true"))
    # It warns, and exits with 0, where a directive is unknown.
    verdict = subprocess.run(["systemd-analyze", "verify", "--man=no", installed], capture_output=True, text=True)  # noqa: PLW1510
    mine = [line for line in verdict.stderr.splitlines() if unit.name in line]
    assert not mine, "\n".join(mine)
