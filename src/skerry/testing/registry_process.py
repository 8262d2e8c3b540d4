"""A real OCI registry (Debian's docker-registry) as a process of its own, on a port of loopback that is a test's own.

with RegistryProcess.started(tmp_path, password=True, tls=True) as registry:
    registry.push("plugins/auth", "v1", docker_image(module))
    url = f"oci://{registry.host}/plugins/auth:v1"
"""

import datetime as dt
import ipaddress
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from skerry.testing.images import PUSH_SECONDS_MAX, Image, push
from skerry.testing.ports import own_port
from skerry.testing.waiting import until

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.02

USERNAME = "skerry-test"
PASSWORD = "s3cret"  # noqa: S105 - of a registry that lives as long as a test
_HTPASSWD = f"{USERNAME}:$2y$05$QV9loq3xtVbC1fvKINMX5O3GFcvZcf1Kt.Gt1hL6YixCjpTW2HXsu\n"


@dataclass
class RegistryProcess:
    """A running registry.

    Attributes:
        host: host and port, as a reference names them.
        directory: its files; `ca.pem` is what its certificate is trusted by.
        process: what runs.
        password: whether it asks for USERNAME and PASSWORD.
        tls: whether it speaks TLS.
    """

    host: str
    directory: Path
    process: subprocess.Popen[bytes]
    password: bool = False
    tls: bool = False

    @classmethod
    @contextmanager
    def started(cls, directory: Path, *, password: bool = False, tls: bool = False) -> Iterator["RegistryProcess"]:
        """Run one for the length of the block."""
        directory.mkdir(parents=True, exist_ok=True)
        port = own_port()
        configuration = _configuration(directory, port, password=password, tls=tls)
        with (directory / "output").open("wb") as output:
            process = subprocess.Popen([_program(), "serve", str(configuration)], stdout=output, stderr=output)
        registry = cls(f"127.0.0.1:{port}", directory, process, password, tls)
        try:
            registry._wait_until_ready()
            yield registry
        finally:
            process.terminate()
            process.wait(STOP_SECONDS_MAX)

    @property
    def ca_file(self) -> Path:
        """The certificate authority of its certificate."""
        return self.directory / "ca.pem"

    @property
    def docker_config(self) -> bytes:
        """A docker configuration with its user and password."""
        return orjson.dumps({"auths": {self.host: {"username": USERNAME, "password": PASSWORD}}})

    def push(self, repository: str, reference: str, image: Image) -> None:
        """Push an image."""
        with self._client() as client:
            push(client, repository, reference, image)

    def requests(self, beginning: str) -> list[str]:
        """Return the requests that it has answered of those that begin so ("GET /v2/app/"), one at least.

        Each is a line of its log, which it writes when its client has the answer already.
        """

        def found() -> list[str]:
            lines = (self.directory / "output").read_text().splitlines()
            return [line for line in lines if f'"{beginning}' in line and "HTTP/1." in line]

        return list(until(found, f"it has answered {beginning}"))

    def _client(self) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.ca_file)) if self.tls else False
        auth = (USERNAME, PASSWORD) if self.password else None
        base = f"{'https' if self.tls else 'http'}://{self.host}"
        return httpx.Client(base_url=base, auth=auth, verify=trust, timeout=PUSH_SECONDS_MAX, trust_env=False)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        with self._client() as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"docker-registry ended:\n{(self.directory / 'output').read_text()}")
                try:
                    if client.get("/v2/").status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    time.sleep(POLL_SECONDS)
        raise AssertionError(f"docker-registry is not ready:\n{(self.directory / 'output').read_text()}")


def _program() -> str:
    """Return the docker-registry beside this Python (`make setup-dev` puts one there), else the one on the PATH."""
    beside = Path(sys.executable).with_name("docker-registry")
    found = str(beside) if beside.exists() else shutil.which("docker-registry")
    if found is None:
        raise AssertionError("docker-registry is missing: run `make setup-dev`")
    return found


def _configuration(directory: Path, port: int, *, password: bool, tls: bool) -> Path:
    """Write the registry's configuration; JSON is YAML."""
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "test"}
    document: dict[str, object] = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": False}, "level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
        "http": http,
    }
    if password:
        (directory / "htpasswd").write_text(_HTPASSWD)
        document["auth"] = {"htpasswd": {"realm": "Registry Realm", "path": str(directory / "htpasswd")}}
    if tls:
        write_certificate(directory)
        http["tls"] = {"certificate": str(directory / "ca.pem"), "key": str(directory / "key.pem")}
    path = directory / "config.yml"
    path.write_bytes(orjson.dumps(document))
    return path


def write_certificate(directory: Path) -> None:
    """Write `ca.pem` and `key.pem`: a certificate of 127.0.0.1 and localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry of a test")])
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - a certificate of a test starts now
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    (directory / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(pem)
