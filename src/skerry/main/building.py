"""What bringing and building code takes, of the settings: shared by `up` and `dev`, and light to import."""

import hashlib
import ipaddress
import shutil
import sys
from pathlib import Path

from skerry import __version__
from skerry.artifacts.fetching.settings import FetchSettings
from skerry.artifacts.javascript import JavaScriptSettings
from skerry.artifacts.npm.installing import NpmSettings
from skerry.kit.errors import StartError
from skerry.main.configuration import Settings
from skerry.main.data_dir import DataDir


def fetch_settings(settings: Settings) -> FetchSettings:
    """Return what may be fetched."""
    return FetchSettings(
        code_bytes_max=settings.fetch_bytes_max,
        fetch_seconds_max=settings.fetch_seconds_max,
        insecure_registries=frozenset(settings.insecure_registries),
        ca_file=settings.fetch_ca_file,
        blocked_networks=tuple(map(ipaddress.ip_network, settings.fetch_blocked_networks)),
        file_dirs=tuple(map(Path, settings.fetch_file_dirs)),
        docker_config=settings.docker_config,
    )


def npm_settings(settings: Settings, build: JavaScriptSettings) -> NpmSettings:
    """Return how packages are had; without npm, only those of lock files can be."""
    file = settings.npm_token_file
    return NpmSettings(
        build.node,
        find_npm(),
        build.staging,
        registry_url=settings.npm_registry,
        token=file.read_text().strip() if file else "",
    )


def component_of(settings: Settings) -> Path:
    """Return the JavaScript engine component."""
    return settings.js_engine_dir / "dist" / "skerry-js-engine.wasm"


def toolchain_of(settings: Settings) -> str:
    """Return a name of what decides whether a function builds: this Skerry, its engine, and what may run natively."""
    engine = hashlib.sha256(component_of(settings).read_bytes()).hexdigest()[:12]
    return f"skerry {__version__}, engine {engine}" + (", native plugins" if settings.native_plugins else "")


def engine_cache_of(settings: Settings, data_dir: DataDir) -> Path:
    """Return where the compiled engine is kept."""
    return (settings.cache_dir or data_dir.root / "cache") / "engine"


def find_node() -> Path:
    """Return the Node.js beside this Python (`make setup` puts one there), else the one on the PATH."""
    beside = Path(sys.executable).with_name("node")
    if beside.exists():
        return beside
    found = shutil.which("node")
    if found is None:
        raise StartError("Node.js is missing, which bundles JavaScript: run `make setup`, or install Node 20 or newer")
    return Path(found)


def find_npm() -> Path | None:
    """Return the npm beside this Python, else the one on the PATH; None where there is none."""
    beside = Path(sys.executable).with_name("npm")
    found = str(beside) if beside.exists() else shutil.which("npm")
    return Path(found) if found else None
