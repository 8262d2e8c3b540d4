"""What a worker knows of a revision: one JSON file each, the only thing that is said to a worker.

There is no control channel. Whoever deploys a revision writes `<functions_dir>/<revision>.json`; a worker that gets
a request for a revision that it does not know reads that file. So start, restart and change are one path, and a
worker that was killed needs nobody to tell it anything. Revisions are immutable: removing the file is how a revision
ends, and another file of its name is another function's that is called the same.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from skerry.engine.errors import LoadError, UnknownRevisionError
from skerry.engine.kv_operations import shared_namespace

TIMEOUT_SECONDS_DEFAULT = 30.0
MEMORY_BYTES_MAX_DEFAULT = 128 * 1024 * 1024
CPU_SECONDS_MAX_DEFAULT = 10.0
REQUEST_BODY_BYTES_MAX_DEFAULT = 10 * 1024 * 1024
RESPONSE_BODY_BYTES_MAX_DEFAULT = 32 * 1024 * 1024
SUBREQUESTS_MAX_DEFAULT = 1_000
CONCURRENCY_MAX_DEFAULT = 16
#: The environment is 1 MiB at most in the API, and JSON writes a byte with six; the rest is small.
MANIFEST_BYTES_MAX = 8 * 1024 * 1024

#: A DNS subdomain as Kubernetes has it: safe as a file name too.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
Isolation = Literal["instance", "request"]


@dataclass(frozen=True, slots=True)
class FunctionManifest:
    """One revision of a function.

    Attributes:
        revision: its name, a DNS subdomain; also the name of its file.
        function: the function's name.
        artifact: the path of its Wasm binary (see `linking`).
        env: the variables that the handler gets.
        timeout_seconds: how long one request may compute and wait.
        memory_bytes_max: the limit of one instance's memory.
        cpu_seconds_max: how long one request may compute.
        request_body_bytes_max: a longer one is refused.
        response_body_bytes_max: a longer one is not sent.
        subrequests_max: of one request.
        concurrency_max: requests of the function at once, in one worker.
        isolation: "instance" where requests share instances; "request" where each has one of its own.
        may_fetch: whether it may send requests (the capability fetchAPI).
        has_kv: whether it has a key/value store (the capability kv).
        shared_kv: the name of the key/value namespace that it shares with others; "" for one of its own.
        uid: tells functions apart that have the same name one after the other; "" where there is but one.
    """

    revision: str
    function: str
    artifact: Path
    env: dict[str, str] = field(default_factory=dict)
    timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT
    memory_bytes_max: int = MEMORY_BYTES_MAX_DEFAULT
    cpu_seconds_max: float = CPU_SECONDS_MAX_DEFAULT
    request_body_bytes_max: int = REQUEST_BODY_BYTES_MAX_DEFAULT
    response_body_bytes_max: int = RESPONSE_BODY_BYTES_MAX_DEFAULT
    subrequests_max: int = SUBREQUESTS_MAX_DEFAULT
    concurrency_max: int = CONCURRENCY_MAX_DEFAULT
    isolation: Isolation = "instance"
    may_fetch: bool = True
    has_kv: bool = True
    shared_kv: str = ""
    uid: str = ""

    def __post_init__(self) -> None:
        for name in (self.revision, self.function, self.log_name):
            if not is_name(name):
                raise ValueError(f"not a name: {name!r} (a lower-case DNS subdomain of at most 253 characters)")
        wrong = [name for name in _POSITIVE if getattr(self, name) <= 0]
        if wrong or self.subrequests_max < 0:
            raise ValueError(f"{', '.join(wrong) or 'subrequests_max'} must be positive")
        if self.isolation not in get_args(Isolation):
            raise ValueError(f"isolation must be instance or request, not {self.isolation!r}")

    @property
    def log_name(self) -> str:
        """The name of its log."""
        return log_name(self.function, self.uid)

    @property
    def kv_namespace(self) -> str:
        """The namespace of its keys and values."""
        return shared_namespace(self.shared_kv) if self.shared_kv else self.function


_POSITIVE = (
    "timeout_seconds",
    "memory_bytes_max",
    "cpu_seconds_max",
    "request_body_bytes_max",
    "response_body_bytes_max",
    "concurrency_max",
)


def is_name(text: str) -> bool:
    """Tell whether a text is a DNS subdomain, and so a safe file name."""
    return _NAME.fullmatch(text) is not None


def log_name(function: str, uid: str) -> str:
    """Return the name of a function's log, a DNS subdomain; see `FunctionManifest.uid`."""
    return f"{function}.{uid}" if uid else function


def manifest_path(functions_dir: Path, revision: str) -> Path:
    """Return where the manifest of a revision is; raises UnknownRevisionError for what is not a name."""
    if not is_name(revision):
        raise UnknownRevisionError(f"not the name of a revision: {revision[:100]!r}")
    return functions_dir / f"{revision}.json"


def write_manifest(functions_dir: Path, manifest: FunctionManifest) -> None:
    """Make a revision known to every worker of this machine; atomic, and on disk when it returns."""
    document = {
        "revision": manifest.revision,
        "function": manifest.function,
        "artifact": str(manifest.artifact.absolute()),
        "env": manifest.env,
        "timeoutSeconds": manifest.timeout_seconds,
        "memoryBytesMax": manifest.memory_bytes_max,
        "cpuSecondsMax": manifest.cpu_seconds_max,
        "requestBodyBytesMax": manifest.request_body_bytes_max,
        "responseBodyBytesMax": manifest.response_body_bytes_max,
        "subrequestsMax": manifest.subrequests_max,
        "concurrencyMax": manifest.concurrency_max,
        "isolation": manifest.isolation,
        "mayFetch": manifest.may_fetch,
        "hasKv": manifest.has_kv,
        "sharedKv": manifest.shared_kv,
        "uid": manifest.uid,
    }
    path = manifest_path(functions_dir, manifest.revision)
    functions_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = functions_dir / f".{manifest.revision}.{os.getpid()}.part"
    with part.open("wb") as file:
        file.write(orjson.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def remove_manifest(functions_dir: Path, revision: str) -> None:
    """End a revision; workers drop it within a second. Removing an unknown one is no error."""
    manifest_path(functions_dir, revision).unlink(missing_ok=True)


ManifestVersion = tuple[int, int]
"""Tells a manifest from another of its name: its inode, and when it was written, in nanoseconds."""


def manifest_version(functions_dir: Path, revision: str) -> ManifestVersion | None:
    """Return the version of a revision's manifest; None where there is none."""
    try:
        found = manifest_path(functions_dir, revision).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def list_manifests(functions_dir: Path) -> list[str]:
    """Return the names of the revisions that are known now, sorted."""
    return sorted(path.stem for path in functions_dir.glob("*.json"))


def read_manifest(functions_dir: Path, revision: str) -> FunctionManifest:
    """Read a revision's manifest.

    Raises:
        UnknownRevisionError: there is none.
        LoadError: the file is not a manifest.
    """
    path = manifest_path(functions_dir, revision)
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise UnknownRevisionError(f"no revision {revision!r} is on this node") from error
    if len(data) > MANIFEST_BYTES_MAX:
        raise LoadError(f"the manifest of revision {revision!r} is over {MANIFEST_BYTES_MAX} bytes")
    try:
        return _from_document(orjson.loads(data))
    except (ValueError, KeyError, TypeError) as error:
        raise LoadError(f"the manifest of revision {revision!r} is damaged: {error}") from error


def _from_document(document: dict[str, Any]) -> FunctionManifest:
    return FunctionManifest(
        revision=document["revision"],
        function=document["function"],
        artifact=Path(document["artifact"]),
        env={str(name): str(value) for name, value in document["env"].items()},
        timeout_seconds=float(document["timeoutSeconds"]),
        memory_bytes_max=int(document["memoryBytesMax"]),
        cpu_seconds_max=float(document["cpuSecondsMax"]),
        request_body_bytes_max=int(document["requestBodyBytesMax"]),
        response_body_bytes_max=int(document["responseBodyBytesMax"]),
        subrequests_max=int(document["subrequestsMax"]),
        concurrency_max=int(document["concurrencyMax"]),
        isolation=document["isolation"],
        may_fetch=bool(document["mayFetch"]),
        has_kv=bool(document["hasKv"]),
        shared_kv=str(document["sharedKv"]),
        uid=str(document["uid"]),
    )
