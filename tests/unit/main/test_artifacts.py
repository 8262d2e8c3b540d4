"""Where artifacts are kept, by the settings."""

from pathlib import Path

import pytest

from skerry.artifacts.folder import FolderKeep
from skerry.kit.clock import SystemClock
from skerry.kit.errors import ConfigurationError, StartError
from skerry.kit.ids import RandomIds
from skerry.main.artifacts import open_keep
from skerry.main.configuration import Settings, artifact_settings, load_settings
from skerry.main.data_dir import DataDir
from skerry.store.postgres.driver import open_postgres
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.scripted_server import reply, scripted_server

CLOCK, IDS = SystemClock(), RandomIds()
SECRET = "geheim/+="


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ARTIFACTS": "gs://bucket"}, "artifacts: must be s3://BUCKET or s3://BUCKET/PREFIX, not 'gs://bucket'"),
        ({"ARTIFACTS": "s3://Bucket"}, "artifacts: must be s3://BUCKET"),
        ({"ARTIFACTS": "s3://bucket/../up?x"}, "artifacts: must be s3://BUCKET"),
        ({"ARTIFACTS_BYTES_MAX": "0"}, "artifacts_bytes_max: must be above 0, not 0"),
        ({"ARTIFACTS_ENDPOINT": "ftp://minio"}, "http"),
        ({"ARTIFACTS_ENDPOINT": "http://minio"}, "artifacts_endpoint: needs artifacts, the bucket"),
        (
            {"ARTIFACTS": "s3://bucket", "ARTIFACTS_CREDENTIALS_FILE": "/none"},
            "artifacts_credentials_file: there is no file /none",
        ),
        ({"ARTIFACTS": "s3://bucket", "ARTIFACTS_CA_FILE": "/none"}, "artifacts_ca_file: there is no file /none"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_fits(environment: dict[str, str], told: str):
    with pytest.raises(ConfigurationError) as refused:
        load_settings({}, {f"SKERRY_{name}": value for name, value in environment.items()})
    assert told in refused.value.public


@pytest.mark.parametrize(
    "content",
    ["", SECRET, f"{SECRET}:", f"key:{SECRET}\nkey:other", f"key:{SECRET}" * 10_000],
    ids=["empty", "no colon", "no secret", "two lines", "too large"],
)
def test_credentials_of_another_form_are_refused_without_a_word_of_them(content: str, tmp_path: Path):
    (tmp_path / "credentials").write_text(content)
    with pytest.raises(ConfigurationError, match="artifacts_credentials_file") as refused:
        Settings(artifacts="s3://bucket", artifacts_credentials_file=tmp_path / "credentials")
    assert SECRET not in str(refused.value)


def test_the_secret_of_a_bucket_is_shown_nowhere(tmp_path: Path):
    (tmp_path / "credentials").write_text(f"key:{SECRET}\n")
    settings = Settings(artifacts="s3://bucket/a/b/", artifacts_credentials_file=tmp_path / "credentials")
    bucket = artifact_settings(settings).bucket
    assert bucket
    assert (bucket.bucket, bucket.prefix, bucket.credentials) == ("bucket", "a/b", ("key", SECRET))
    assert SECRET not in repr(bucket) + repr(settings.as_text())


async def test_one_process_alone_keeps_them_in_its_data_directory(tmp_path: Path):
    async with open_keep(Settings(), DataDir(tmp_path), CLOCK, IDS) as keep:
        assert isinstance(keep, FolderKeep)
        digest = await keep.put(b"module")
        assert (await keep.verify(digest)).is_relative_to(tmp_path)


async def test_replicas_on_one_database_share_them(tmp_path: Path, postgres: PostgresProcess):
    settings = Settings(database=postgres.create_schema())
    async with open_postgres(settings.database):
        pass
    async with open_keep(settings, DataDir(tmp_path / "a"), CLOCK, IDS) as one:
        digest = await one.put(b"module")
    async with open_keep(settings, DataDir(tmp_path / "b"), CLOCK, IDS) as other:
        assert await other.read(digest) == b"module"


async def test_requests_to_a_bucket_are_signed_and_do_not_carry_the_secret(tmp_path: Path):
    (tmp_path / "credentials").write_text(f"the-key:{SECRET}")
    listed = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'
    async with scripted_server({"/bucket": [reply(200, listed)]}) as server:
        settings = Settings(
            artifacts="s3://bucket",
            artifacts_endpoint=f"http://127.0.0.1:{server.port}",
            artifacts_region="eu-north-1",
            artifacts_credentials_file=tmp_path / "credentials",
        )
        async with open_keep(settings, DataDir(tmp_path), CLOCK, IDS):
            pass
        (request,) = server.seen
        authorization = request.headers["authorization"]
        assert authorization.startswith("AWS4-HMAC-SHA256 Credential=the-key/")
        assert "/eu-north-1/s3/aws4_request" in authorization
        assert SECRET not in str(request)


async def test_a_bucket_that_lets_nobody_in_is_told_at_the_start(tmp_path: Path):
    (tmp_path / "credentials").write_text(f"the-key:{SECRET}")
    async with scripted_server({"/bucket": [reply(403, b"<Error><Code>AccessDenied</Code></Error>")]}) as server:
        settings = Settings(
            artifacts="s3://bucket",
            artifacts_endpoint=f"http://127.0.0.1:{server.port}",
            artifacts_credentials_file=tmp_path / "credentials",
        )
        with pytest.raises(StartError, match="artifacts: the bucket of artifacts cannot serve") as refused:
            async with open_keep(settings, DataDir(tmp_path), CLOCK, IDS):
                pass
        assert SECRET not in f"{refused.value} {refused.value.detail}"
