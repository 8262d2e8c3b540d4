"""What a worker knows of a revision: one JSON file each, the only thing that is said to a worker.

There is no control channel. Whoever deploys a revision writes `<functions_dir>/<revision>.json`; a worker that gets
a request for a revision that it does not know reads that file. So start, restart and change are one path, and a
worker that was killed needs nobody to tell it anything. Revisions are immutable: a file is written once, and
removing it is how a revision ends.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from skerry.engine.errors import LoadError, UnknownRevisionError

TIMEOUT_SECONDS_DEFAULT = 30.0
MEMORY_BYTES_MAX_DEFAULT = 128 * 1024 * 1024
#: The environment is 1 MiB at most in the API; the rest is small.
MANIFEST_BYTES_MAX = 2 * 1024 * 1024

#: A DNS subdomain as Kubernetes has it: safe as a file name too.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class FunctionManifest:
    """One revision of a function.

    Attributes:
        revision: its name, a DNS subdomain; also the name of its file.
        function: the function's name; also the name of its log file.
        artifact: the path of its Wasm binary (see `linking`).
        env: the variables that the handler gets.
        timeout_seconds: how long one request may compute and wait.
        memory_bytes_max: the limit of one instance's memory.
        may_fetch: whether it may send requests (the capability fetchAPI).
        has_kv: whether it has a key/value store (the capability kv).
    """

    revision: str
    function: str
    artifact: Path
    env: dict[str, str] = field(default_factory=dict)
    timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT
    memory_bytes_max: int = MEMORY_BYTES_MAX_DEFAULT
    may_fetch: bool = True
    has_kv: bool = True

    def __post_init__(self) -> None:
        for name in (self.revision, self.function):
            if not is_name(name):
                raise ValueError(f"not a name: {name!r} (a lower-case DNS subdomain of at most 253 characters)")
        if self.timeout_seconds <= 0 or self.memory_bytes_max <= 0:
            raise ValueError("timeout_seconds and memory_bytes_max must be positive")


def is_name(text: str) -> bool:
    """Tell whether a text is a DNS subdomain, and so a safe file name."""
    return _NAME.fullmatch(text) is not None


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
        "mayFetch": manifest.may_fetch,
        "hasKv": manifest.has_kv,
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
        may_fetch=bool(document["mayFetch"]),
        has_kv=bool(document["hasKv"]),
    )
