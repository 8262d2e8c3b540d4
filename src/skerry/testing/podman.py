"""A podman of its own for tests: Docker's API on a socket, with storage in a folder that goes with it.

It needs no configuration of the machine, and leaves nothing on it: what it ran is removed, and it is ended by its id.
Base images are made from scratch, of a small Python that `make setup-dev` unpacks: no registry is asked.
"""

import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException
from docker.models.containers import Container

import skerry.functions

START_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.1
#: A network that needs no rules of the machine's firewall: its packets go through a process.
NETWORK = "slirp4netns"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a random name is made in it
_STORAGE_BYTES_LEAST = 4 << 30
#: An image with a Python at /usr/bin/python3, and little else.
PYTHON_IMAGE = "localhost/rootfs:1"
_NODE_ROOTFS = "localhost/node-rootfs:1"
_FROM_SCRATCH = b"FROM scratch\nCOPY rootfs /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n"


class PodmanMissingError(Exception):
    """Containers can't be run here; the message says why."""


@dataclass(frozen=True)
class Podman:
    """A podman that serves.

    Attributes:
        host: its socket, as Docker's clients take it.
        folder: of its storage, and room for more.
    """

    host: str
    folder: Path

    def client(self) -> docker.DockerClient:
        """Connect to it."""
        return docker.DockerClient(self.host, version="auto", timeout=60)

    def trust(self, registry: str, ca: bytes) -> None:
        """Let it take the certificate of a registry (host:port) that an authority has signed."""
        folder = self.folder / "home" / ".config" / "containers" / "certs.d" / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(ca)

    def build(self, image: str, **files: bytes) -> None:
        """Build an image of files by their paths, a `Dockerfile` among them."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(text), 0o755
                archive.addfile(member, io.BytesIO(text))
        content.seek(0)
        client = self.client()
        try:
            client.images.build(fileobj=content, custom_context=True, tag=image, rm=True, forcerm=True)
        finally:
            client.close()


@contextmanager
def serving_podman(rootfs: Path) -> Iterator[Podman]:
    """Serve Docker's API for the length of the block.

    Args:
        rootfs: a folder with a Python, which base images are made of.

    Raises:
        PodmanMissingError: there is no podman, or it runs no container here.
    """
    program = shutil.which("podman")
    if program is None:
        raise PodmanMissingError("there is no podman on PATH: `make setup-dev` tells why")
    if not rootfs.is_dir():
        raise PodmanMissingError(f"there is no {rootfs}: `make setup-dev` tells why")
    # In a short path: that of a socket has 107 bytes at most. In memory, as each image and container is a copy of all.
    place = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _STORAGE_BYTES_LEAST else None
    with tempfile.TemporaryDirectory(prefix="skp-", dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        socket_path, log_path = folder / "api.sock", folder / "podman.log"
        with log_path.open("w") as log:
            process = subprocess.Popen(
                [program, "system", "service", "--time=0", f"unix://{socket_path}"],
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        podman = Podman(f"unix://{socket_path}", folder)
        try:
            _wait(socket_path, process, log_path)
            _import(podman, rootfs)
            yield podman
        finally:
            with suppress(DockerException):
                _remove_containers(podman)
            process.terminate()
            process.wait()


def _environment(folder: Path) -> dict[str, str]:
    """Write podman's configuration into a folder; return the environment that makes it use nothing else."""
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
    )
    (folder / "containers.conf").write_text(
        "[containers]\nlog_driver = 'k8s-file'\n"
        "[engine]\nruntime = 'runc'\ncgroup_manager = 'cgroupfs'\nevents_logger = 'file'\nlock_type = 'file'\n"
        f"tmp_dir = '{folder}/libpod'\n" + _helpers()
    )
    policy = folder / "home" / ".config" / "containers" / "policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return {
        "PATH": os.environ["PATH"],  # noqa: TID251 - podman finds its helpers there
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "BUILDAH_ISOLATION": "chroot",
    }


def _helpers() -> str:
    """Name the programs that podman starts, where they are not where it looks by itself."""
    unpacked = Path(__file__).resolve().parents[3] / ".cache" / "podman" / "usr"
    if not unpacked.is_dir():
        return ""
    return (
        f"conmon_path = ['{unpacked}/bin/conmon']\nhelper_binaries_dir = ['{unpacked}/lib/podman']\n"
        f"network_cmd_path = '{unpacked}/bin/slirp4netns'\n[engine.runtimes]\nrunc = ['{unpacked}/sbin/runc']\n"
    )


def _wait(socket_path: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        with socket.socket(socket.AF_UNIX) as tried:
            try:
                tried.connect(str(socket_path))
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text()[-2000:]
                    raise PodmanMissingError(f"podman does not serve here: {said or error}") from error
            else:
                return
        time.sleep(_LOOK_SECONDS)


def _import(podman: Podman, rootfs: Path) -> None:
    """Make an image of the Python, and run it once: whether containers can be run at all shows there."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(rootfs, "rootfs")
        dockerfile = tarfile.TarInfo("Dockerfile")
        dockerfile.size = len(_FROM_SCRATCH)
        archive.addfile(dockerfile, io.BytesIO(_FROM_SCRATCH))
    content.seek(0)
    client = podman.client()
    try:
        client.images.build(fileobj=content, custom_context=True, tag=PYTHON_IMAGE, rm=True, forcerm=True)
        limits = [docker.types.Ulimit(name=name, soft=1024, hard=1024) for name in ("nofile", "nproc")]
        command = ["/usr/bin/python3", "-c", "print(1)"]
        container = client.containers.create(PYTHON_IMAGE, command, network_mode=NETWORK, ulimits=limits)
        container.start()
        code = _exit_code(container)  # podman's own wait takes 20 s where it is no child of systemd
        container.remove(force=True)
    except DockerException as error:
        raise PodmanMissingError(f"podman runs no containers here: {error}") from error
    finally:
        client.close()
    if code:
        raise PodmanMissingError(f"a container with Python ends with exit code {code} here")


def _exit_code(container: Container) -> int:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        container.reload()
        if container.status not in {"created", "initialized", "running"}:
            return int(container.attrs["State"]["ExitCode"])
        if time.monotonic() > deadline:
            raise PodmanMissingError(f"a container with Python does not end within {START_SECONDS_MAX:.0f} s here")
        time.sleep(_LOOK_SECONDS)


def _remove_containers(podman: Podman) -> None:
    with closing(podman.client()) as client:
        for container in client.containers.list(all=True, ignore_removed=True):
            container.remove(force=True)


def build_python_base(podman: Podman, image: str) -> None:
    """Build the base image `python3` as its page tells it, from scratch but for the small Python."""
    _build_base(podman, image, "containers/python3/Dockerfile", PYTHON_IMAGE)


def build_node_base(podman: Podman, image: str) -> None:
    """Build the base image `nodejs` as its page tells it, of the Node.js of this machine and what that is linked to.

    Raises:
        PodmanMissingError: there is none.
    """
    node, ldd = shutil.which("node"), shutil.which("ldd")
    if node is None or ldd is None:
        raise PodmanMissingError("there is no node, or no ldd, on PATH: `make setup` brings the first")
    linked = subprocess.run([ldd, node], capture_output=True, text=True, check=True).stdout
    libraries = [word for line in linked.splitlines() for word in line.split() if word.startswith("/")]
    files = {f"files{library}": Path(library).read_bytes() for library in libraries}
    files["files/usr/local/bin/node"] = Path(node).read_bytes()
    files["files/tmp/.made"] = b""
    files["Dockerfile"] = b"FROM scratch\nCOPY files /\nENV PATH=/usr/local/bin\n"
    podman.build(_NODE_ROOTFS, **files)
    _build_base(podman, image, "containers/nodejs/Dockerfile", _NODE_ROOTFS)


def _build_base(podman: Podman, image: str, dockerfile: str, base: str) -> None:
    sources = str(Path(skerry.functions.__file__).parent)
    client = podman.client()
    try:
        client.images.build(
            path=sources, dockerfile=dockerfile, tag=image, buildargs={"BASE": base}, rm=True, forcerm=True
        )
    finally:
        client.close()
