"""Where artifacts are kept; the fields are settings of the same names."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skerry.artifacts.s3_settings import S3Settings
from skerry.kit.errors import ConfigurationError

#: A bucket, as S3 lets it be named, and a prefix of plain names.
_BUCKET = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(?:/[A-Za-z0-9._-]+)*)/?", re.ASCII)
CREDENTIALS_BYTES_MAX = 16 << 10
CA_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class ArtifactSettings:
    """Where artifacts are kept, and how many.

    Attributes:
        artifacts: `s3://BUCKET/PREFIX`; "" for the database where replicas share it, else the data directory.
        artifacts_bytes_max: of all artifacts together, and of this machine's copies of them.
        artifacts_endpoint: of the bucket, a URL; "" for AWS's own.
        artifacts_region: of the bucket.
        artifacts_credentials_file: one line, `ACCESS_KEY:SECRET`; None for AWS's own ways to find some.
        artifacts_ca_file: an authority of the endpoint's certificate, besides the system's.

    Raises:
        ConfigurationError: a field is wrong, or does not go with another.
    """

    artifacts: str
    artifacts_bytes_max: int
    artifacts_endpoint: str
    artifacts_region: str
    artifacts_credentials_file: Path | None
    artifacts_ca_file: Path | None

    def __post_init__(self) -> None:
        of_a_bucket = {
            "artifacts_endpoint": self.artifacts_endpoint,
            "artifacts_credentials_file": self.artifacts_credentials_file,
            "artifacts_ca_file": self.artifacts_ca_file,
        }
        scheme = urlsplit(self.artifacts_endpoint).scheme
        wrong = [
            f"artifacts: must be s3://BUCKET or s3://BUCKET/PREFIX, not {self.artifacts!r}"
            * (self.artifacts != "" and _BUCKET.fullmatch(self.artifacts) is None),
            f"artifacts_bytes_max: must be above 0, not {self.artifacts_bytes_max}" * (self.artifacts_bytes_max <= 0),
            f"artifacts_endpoint: must be an http(s) URL, not {self.artifacts_endpoint!r}"
            * (self.artifacts_endpoint != "" and scheme not in {"http", "https"}),
            *(
                f"{name}: needs artifacts, the bucket" * (not self.artifacts)
                for name, given in of_a_bucket.items()
                if given
            ),
            *(
                f"{name}: there is no file {path}"
                for name, path in of_a_bucket.items()
                if isinstance(path, Path) and not path.is_file()
            ),
        ]
        if any(wrong):
            raise ConfigurationError("; ".join(filter(None, wrong)))
        _ = self.bucket  # read now, so that a wrong file is told with the other settings

    @property
    def bucket(self) -> S3Settings | None:
        """The bucket; None where artifacts are in none. Raises ConfigurationError where a file can't be read."""
        match = _BUCKET.fullmatch(self.artifacts)
        if match is None:
            return None
        ca_file = self.artifacts_ca_file
        return S3Settings(
            bucket=match["bucket"],
            prefix=match["prefix"].strip("/"),
            endpoint=self.artifacts_endpoint,
            region=self.artifacts_region,
            credentials=self._credentials(),
            ca_pem=_read("artifacts_ca_file", ca_file, CA_BYTES_MAX) if ca_file else "",
            bytes_max=self.artifacts_bytes_max,
        )

    def _credentials(self) -> tuple[str, str] | None:
        path = self.artifacts_credentials_file
        if path is None:
            return None
        key, colon, secret = _read("artifacts_credentials_file", path, CREDENTIALS_BYTES_MAX).strip().partition(":")
        if not (key and colon and secret) or "\n" in secret:
            raise ConfigurationError(f"artifacts_credentials_file: {path} must hold one line, ACCESS_KEY:SECRET")
        return key, secret


def _read(name: str, path: Path, bytes_max: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise ConfigurationError(f"{name}: {path} is larger than {bytes_max} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: {path} can't be read: {error}") from error
