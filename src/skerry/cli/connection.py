"""How a command finds its server: a kubeconfig, as kubectl reads it.

Order: `--kubeconfig`, `--data-dir`, the KUBECONFIG variable, the default data directory. Only what Skerry writes is
read: a server, an embedded CA, a bearer token.
"""

import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from skerry.cli.reading import read_text
from skerry.kit.errors import ConfigurationError

CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Access:
    """Where the server is, whom to trust, and what to show it."""

    server: str
    ca_pem: str
    token: str
    namespace: str = "default"


def find_kubeconfig(given: Path | None, data_dir: str | None, environment: Mapping[str, str]) -> Path:
    """Return the kubeconfig to use; raises ConfigurationError where that file is not there.

    The first that is set: `--kubeconfig`, `--data-dir`, KUBECONFIG, SKERRY_DATA_DIR, the default data directory.
    """
    listed = environment.get("KUBECONFIG", "").split(":")[0]
    if given:
        path = given
    elif data_dir or not listed:
        path = Path(data_dir or environment.get("SKERRY_DATA_DIR") or ".skerry") / "kubeconfig"
    else:
        path = Path(listed)
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise ConfigurationError(f"kubeconfig: {path} can't be read: {error.strerror}") from error
    raise ConfigurationError(f"there is no kubeconfig at {path}: is `skerry up` running? Or give --kubeconfig")


def read_access(path: Path) -> Access:
    """Read the current context of a kubeconfig; raises ConfigurationError that names what it lacks."""
    try:
        config = yaml.safe_load(read_text(path, "kubeconfig"))
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        return Access(
            server=cluster["server"],
            ca_pem=base64.b64decode(cluster["certificate-authority-data"]).decode(),
            token=_header(user["token"]),
            namespace=context.get("namespace", "default"),
        )
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        wanted = "a current-context with a server, certificate-authority-data and a token"
        raise ConfigurationError(f"{path}: not a kubeconfig that skerry reads ({wanted}): {error!r}") from error


def _header(token: str) -> str:
    if not (isinstance(token, str) and token.isascii() and token.isprintable()):
        raise ValueError("the token is none that a header can have")
    return token


def _named(config: Any, section: str, name: str) -> Any:
    for item in config[section]:
        if item["name"] == name:
            return item
    raise KeyError(f"{section}: {name}")


@asynccontextmanager
async def connected(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client for the server, closed on exit."""
    try:
        trust = ssl.create_default_context(cadata=access.ca_pem)
        base_url = httpx.URL(access.server)
    except (ssl.SSLError, httpx.InvalidURL) as error:
        raise ConfigurationError(f"the kubeconfig's authority or server can't be used: {error}") from error
    async with httpx.AsyncClient(
        base_url=base_url,
        verify=trust,
        trust_env=False,
        headers={"Authorization": f"Bearer {access.token}", "User-Agent": "skerry-cli"},
        timeout=httpx.Timeout(30.0, connect=CONNECT_SECONDS),
    ) as http:
        yield http
