"""What `skerry store` and `skerry pki` print, and what their exit codes say."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skerry.cli.app import app
from skerry.kit.errors import SkerryError
from skerry.store.records import Key, Write
from skerry.store.sqlite import open_sqlite


def said(*arguments: str | Path) -> str:
    """Run a command that succeeds, and return all that it printed."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str | Path) -> tuple[str, str]:
    """Run a command that fails; returns what it printed and the error."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(result.exception, SkerryError), result.output
    return result.output, result.exception.public


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of two objects."""

    async def fill() -> None:
        async with open_sqlite(tmp_path / "skerry.db") as driver:
            for name in "ab":
                await driver.append(Write(Key("installation", "", name), b"{}", 0))

    asyncio.run(fill())
    return tmp_path / "skerry.db"


def url(path: Path) -> str:
    return f"sqlite://{path}"


def test_a_database_is_copied_backed_up_restored_and_checked_with_one_digest(database: Path, tmp_path: Path):
    printed = said("store", "check", url(database))
    digest = printed.partition("digest ")[2].split()[0]
    assert printed.startswith("2 changes up to revision 2, digest sha256:")
    assert printed.endswith("no faults\n")
    assert digest in said("store", "copy", "--from", url(database), "--to", url(tmp_path / "copy" / "skerry.db"))
    assert digest in said("store", "backup", url(database), tmp_path / "backup")
    assert digest in said("store", "restore", tmp_path / "backup", url(tmp_path / "restored" / "skerry.db"))
    for place in (url(tmp_path / "copy" / "skerry.db"), tmp_path / "backup", url(tmp_path / "restored" / "skerry.db")):
        assert digest in said("store", "check", place)


def test_a_copy_of_what_stays_in_use_says_what_is_to_be_done(database: Path, tmp_path: Path):
    copy = ("store", "copy", "--from", url(database), "--to", url(tmp_path / "copy" / "skerry.db"))
    assert "run the same without --online" in said(*copy, "--online")
    output, error = refused("store", "check", url(tmp_path / "copy" / "skerry.db"))
    assert "copy: it is the half of a copy" in output
    assert error.endswith(": 1 faults")
    assert said(*copy).startswith("went on after revision 2\n")


def test_faults_are_printed_and_fail(database: Path):
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM current")
    connection.close()
    output, error = refused("store", "check", url(database))
    assert output.splitlines()[0] == "index: installation a is not listed, and is there at 1"
    assert error.endswith(": 2 faults")


@pytest.mark.parametrize("address", ["skerry.db", "mysql://host/name", "sqlite://geheim/x"])
def test_what_is_no_database_is_refused_without_a_word_of_it(address: str, tmp_path: Path):
    _, error = refused("store", "backup", address, tmp_path / "backup")
    assert error == "database: must be postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE with its whole path"


def test_the_files_that_replicas_share_are_printed_and_their_key_is_changed_in_steps(database: Path):
    root = database.parent
    files = said("pki", "init", "--data-dir", root).split()
    assert [Path(path).is_file() for path in files] == [True] * 6
    added = said("pki", "add-key", "--data-dir", root).split()[-1]
    assert said("pki", "use-key", "--data-dir", root) == f"will use key {added}\n"
    assert said("pki", "drop-keys", "--data-dir", root).startswith("dropped key local:")
    assert "there is no older key" in said("pki", "drop-keys", "--data-dir", root)
    assert "no key that was added" in refused("pki", "use-key", "--data-dir", root)[1]
