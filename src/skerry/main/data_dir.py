"""The data directory: one process at a time, and a note of what runs there.

    skerry.db  pki/  artifacts/  kv/  logs/  kubeconfig  run.json  lock  run/ (sockets)

Owns the lock and `run.json`. Does not own the content of any of the others.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from skerry.kit.errors import StartError
from skerry.kit.files import close_to_others
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: A Unix socket's address holds 108 bytes with its final NUL; our longest socket name below the run folder takes 20.
SOCKET_DIR_BYTES_MAX = 85


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths below one data directory."""

    root: Path

    @property
    def database(self) -> Path:
        """The log."""
        return self.root / "skerry.db"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def encryption_keys(self) -> Path:
        """What the secrets in the log are encrypted with."""
        return self.pki / "encryption-keys.json"

    @property
    def service_account_key(self) -> Path:
        """What the tokens of service accounts are signed with."""
        return self.pki / "sa.key"

    @property
    def artifacts(self) -> Path:
        """Code, by digest."""
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        """Logs of Envoy and of functions."""
        return self.root / "logs"

    @property
    def functions(self) -> Path:
        """Manifests of the functions that this node runs."""
        return self.root / "functions"

    @property
    def filters(self) -> Path:
        """Code of functions that this node's Envoy runs itself."""
        return self.root / "filters"

    @property
    def deployments(self) -> Path:
        """Sources and packages of the functions with typed input and output."""
        return self.root / "deployments"

    @property
    def message_functions(self) -> Path:
        """Manifests of those of them that run within the Wasm engine."""
        return self.root / "message-functions"

    @property
    def images(self) -> Path:
        """Packages that such functions share."""
        return self.root / "images"

    @property
    def egress_policies(self) -> Path:
        """Where the functions of this node may send requests."""
        return self.root / "egress.json"

    @property
    def plugins(self) -> Path:
        """Modules of the plugins that this node runs."""
        return self.root / "plugins"

    @property
    def key_values(self) -> Path:
        """What functions keep in env.KV."""
        return self.root / "kv" / "kv.db"

    @property
    def builds(self) -> Path:
        """Sources that are being built."""
        return self.root / "builds"

    @property
    def kubeconfig(self) -> Path:
        """How kubectl reaches this Skerry as its administrator."""
        return self.root / "kubeconfig"

    @property
    def run_note(self) -> Path:
        """Process id and addresses, while it runs."""
        return self.root / "run.json"


@contextmanager
def opened(root: Path) -> Iterator[DataDir]:
    """Make the directory where it is absent, and hold its lock for the length of the block.

    Raises:
        StartError: another process holds it, or it can't be written.
    """
    root = root.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"the data directory {root} can't be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(f"another skerry runs on the data directory {root}; stop it or use --data-dir") from error
        data_dir = DataDir(root)
        data_dir.run_note.unlink(missing_ok=True)  # left by one that was killed
        _close_to_others(data_dir)
        yield data_dir
    finally:
        os.close(lock)


def _close_to_others(data_dir: DataDir) -> None:
    """Let nobody else have what another version, or another hand, left open; what is made anew is closed anyhow."""
    for kept in (data_dir.pki, data_dir.artifacts, data_dir.key_values.parent, data_dir.deployments, data_dir.database):
        if kept.exists():
            try:
                close_to_others(kept)
            except OSError as error:  # it is another user's, who lets us write there
                log.warning("what is kept may be open to others", path=str(kept), reason=error.strerror)


@contextmanager
def run_dir(data_dir: DataDir) -> Iterator[Path]:
    """Yield a folder for sockets: `run/` of the data directory, or a temporary one where its path is too long."""
    inside = data_dir.root / "run"
    if len(os.fsencode(inside)) <= SOCKET_DIR_BYTES_MAX:
        inside.mkdir(exist_ok=True, mode=0o700)
        yield inside
        return
    with tempfile.TemporaryDirectory(prefix="skerry-") as outside:
        yield Path(outside)


def write_run_note(data_dir: DataDir, *, api: str, http: str) -> None:
    """Say in `run.json` that a ready Skerry runs here, and where it listens."""
    note = orjson.dumps({"pid": os.getpid(), "api": api, "http": http, "ready": True})
    incoming = data_dir.run_note.with_suffix(".incoming")
    incoming.write_bytes(note + b"\n")
    incoming.replace(data_dir.run_note)
