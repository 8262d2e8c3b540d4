"""A small npm registry on loopback, for packages that no honest registry has.

with npm_registry([NpmPackage("evil", files={"index.js": "..."}, scripts={"install": "touch /tmp/x"})]) as registry:
    ...  # registry.url
"""

import base64
import gzip
import hashlib
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from skerry.testing.threaded import in_a_thread


@dataclass(frozen=True)
class NpmPackage:
    """One version of a package.

    Attributes:
        name: with its scope.
        version: exactly.
        files: by path within the package; a package.json is added.
        dependencies: versions by name.
        scripts: of its package.json.
        tampered: whether its tarball is another than the registry says.
    """

    name: str
    version: str = "1.0.0"
    files: Mapping[str, str] = field(default_factory=dict)
    dependencies: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    tampered: bool = False

    @property
    def manifest(self) -> dict[str, object]:
        """Its package.json."""
        more = {"dependencies": dict(self.dependencies), "scripts": dict(self.scripts)}
        return {"name": self.name, "version": self.version, "main": "index.js", **more}

    @property
    def tarball(self) -> bytes:
        """Its files, packed."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path, text in {"package.json": json.dumps(self.manifest), **self.files}.items():
                entry = tarfile.TarInfo(f"package/{path}")
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
        return gzip.compress(out.getvalue(), mtime=0)

    @property
    def file_name(self) -> str:
        """What its tarball is called."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"


@dataclass
class NpmRegistry:
    """A running registry; `asked` is every path that it was asked for."""

    url: str
    asked: list[str] = field(default_factory=list)


def configured_registry() -> str:
    """Return the registry that npm is configured for on this machine."""
    beside = Path(sys.executable).with_name("npm")
    path = f"{beside.parent}:{os.environ['PATH']}"  # noqa: TID251 - npm's own configuration is what is asked for
    command = [str(beside) if beside.exists() else "npm", "config", "get", "registry"]
    environment = {**os.environ, "PATH": path}  # noqa: TID251 - likewise
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@contextmanager
def npm_registry(packages: Iterable[NpmPackage], *, token: str = "", upstream: str = "") -> Iterator[NpmRegistry]:
    """Serve packages; with a token, only to whom shows it; with an upstream registry, those of it too."""
    known = tuple(packages)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/")
            registry.asked.append(path)
            if token and self.headers["authorization"] != f"Bearer {token}":
                return self._send(401, b"{}")
            name, tarball, file_name = path.partition("/-/")
            versions = [package for package in known if package.name == name]
            if not versions and upstream:
                answer = httpx.get(upstream + path, verify=ssl.create_default_context(), trust_env=False)
                return self._send(answer.status_code, answer.content)
            if tarball:
                return self._send(200, next(p.tarball for p in versions if p.file_name == file_name))
            return self._send(200, _metadata(registry.url, versions)) if versions else self._send(404, b"{}")

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry = NpmRegistry(f"http://127.0.0.1:{server.server_port}/")
    with in_a_thread(server):
        yield registry


def _metadata(url: str, versions: list[NpmPackage]) -> bytes:
    documents = {}
    for package in versions:
        honest = package.tarball if not package.tampered else package.tarball + b"\0"
        sha512 = base64.b64encode(hashlib.sha512(honest).digest()).decode()
        place = f"{url}{package.name}/-/{package.file_name}"
        documents[package.version] = {**package.manifest, "dist": {"tarball": place, "integrity": f"sha512-{sha512}"}}
        if package.scripts:
            documents[package.version]["hasInstallScript"] = True
    latest = versions[-1].version
    return json.dumps({"name": versions[0].name, "dist-tags": {"latest": latest}, "versions": documents}).encode()
