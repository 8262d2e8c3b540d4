"""Where the log is kept, and that a replica has the keys of its database."""

import shutil
from pathlib import Path

import pytest

from skerry.kit.clock import SystemClock
from skerry.kit.errors import ConfigurationError, StartError
from skerry.main.configuration import Settings, load_settings
from skerry.main.data_dir import DataDir
from skerry.main.storage import open_storage
from skerry.store.postgres.driver import PostgresDriver
from skerry.store.records import Key, Write
from skerry.store.sealing.keys import KeyUnavailable
from skerry.store.sqlite import SqliteDriver
from skerry.testing.postgres_process import PostgresProcess

CLOCK = SystemClock()


@pytest.mark.parametrize("where", ["", "elsewhere.db"])
async def test_a_sqlite_file_is_one_processs_own(tmp_path: Path, where: str):
    url = f"sqlite://{tmp_path / where}" if where else ""
    async with open_storage(Settings(database=url), DataDir(tmp_path), CLOCK) as storage:
        assert isinstance(storage.driver, SqliteDriver)
        assert not storage.is_shared
        await storage.driver.append(Write(Key("secrets", "", "a"), b"{}", 0))
    assert (tmp_path / (where or "skerry.db")).exists()


async def test_a_replica_with_a_copy_of_the_keys_is_let_in_and_one_with_others_is_not(
    tmp_path: Path, postgres: PostgresProcess
):
    settings = Settings(database=postgres.create_schema())
    async with open_storage(settings, DataDir(tmp_path / "a"), CLOCK) as storage:
        assert isinstance(storage.driver, PostgresDriver)
        assert storage.is_shared
    shutil.copytree(tmp_path / "a" / "pki", tmp_path / "b" / "pki")
    async with open_storage(settings, DataDir(tmp_path / "b"), CLOCK):
        pass
    with pytest.raises(StartError, match="copy pki/ and kubeconfig"):
        async with open_storage(settings, DataDir(tmp_path / "c"), CLOCK):
            pass


async def test_keys_that_replicas_have_copies_of_are_not_rotated_by_one_of_them(
    tmp_path: Path, postgres: PostgresProcess
):
    async with open_storage(Settings(database=postgres.create_schema()), DataDir(tmp_path), CLOCK) as storage:
        first = await storage.keys.add()
        with pytest.raises(KeyUnavailable, match="copies"):
            await storage.keys.add()
        await storage.keys.remove([first])
        assert [key.id for key in storage.keys.known_keys()] == [first]


@pytest.mark.parametrize("url", ["mysql://a:geheim@h/d", "sqlite://geheim/x", "sqlite://", "http://[geheim"])
def test_a_database_of_another_form_is_refused_without_a_word_of_it(url: str):
    with pytest.raises(
        ConfigurationError, match="postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///FILE"
    ) as caught:
        load_settings({}, {"SKERRY_DATABASE": url})
    assert "geheim" not in caught.value.public


def test_the_settings_are_shown_without_the_databases_password():
    settings = load_settings({"database": "postgresql://a:geheim@h/d"}, {})
    assert settings.as_text()["database"] == "postgresql://a@h/d"
