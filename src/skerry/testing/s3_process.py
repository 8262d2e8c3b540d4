"""A server of S3's API (npm's s3rver, which keeps objects in a folder) as a process of its own, on loopback.

    with S3Process.started(tmp_path) as s3:
        settings = S3Settings(BUCKET, endpoint=s3.url, credentials=CREDENTIALS)

It keeps what S3 promises of objects, lists and uploads in parts; it takes any signature that is well formed.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

STOP_SECONDS_MAX = 60.0
BUCKET = "skerry"
CREDENTIALS = ("S3RVER", "S3RVER")
_SCRIPT = """
const S3rver = require(process.argv[1]);
const [directory, bucket] = process.argv.slice(2);
const options = { address: '127.0.0.1', port: 0, silent: true, directory, configureBuckets: [{ name: bucket }] };
new S3rver(options).run().then(({ port }) => console.log(port));
"""


class S3MissingError(Exception):
    """There is no such server here; the message says what brings it."""


@dataclass(frozen=True)
class S3Process:
    """A running server, with one bucket, BUCKET.

    Attributes:
        url: its endpoint.
        directory: where it keeps objects, a folder a bucket.
    """

    url: str
    directory: Path

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator["S3Process"]:
        """Run one for the length of the block; raises S3MissingError."""
        directory.mkdir(parents=True, exist_ok=True)
        arguments = [_node(), "--no-deprecation", "-e", _SCRIPT, "--", str(_package()), str(directory), BUCKET]
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output)
        try:
            yield cls(f"http://127.0.0.1:{_port(process.stdout, directory / 'output')}", directory)
        finally:
            process.terminate()
            process.communicate(timeout=STOP_SECONDS_MAX)

    def objects(self, prefix: str) -> list[Path]:
        """Return the files that hold the content of objects whose names begin so."""
        return sorted((self.directory / BUCKET / prefix).rglob("*._S3rver_object"))


def _port(output: IO[bytes] | None, errors: Path) -> int:
    line = output.readline() if output else b""  # at the end of the process, ""
    if not line:
        raise AssertionError(f"s3rver ended:\n{errors.read_text()}")
    return int(line)


def _node() -> str:
    beside = Path(sys.executable).with_name("node")
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise S3MissingError("node is missing: run `make setup-dev`")
    return found


def _package() -> Path:
    package = Path(__file__).resolve().parents[3] / "tests" / "s3" / "node_modules" / "s3rver"
    if not package.is_dir():
        raise S3MissingError(f"s3rver is missing in {package.parent}: run `make setup-dev`")
    return package
