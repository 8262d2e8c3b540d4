"""From the dependencies of a package.json to a package-lock.json: npm decides, and runs nothing.

npm is the program of that name, started with a package.json that says no more than the dependencies, in a folder and
with a cache of its own, without anybody's .npmrc, without scripts, without git, and without any network but the
registry's (`door`). What comes out is the lock alone; nothing is installed.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skerry.artifacts import child
from skerry.artifacts.errors import BuilderError, BuildError, Diagnostic, listed
from skerry.artifacts.npm.door import RegistryDoor
from skerry.artifacts.npm.registry import RegistryClient

#: One resolution, in seconds: a hundred packages take some seconds.
RESOLVE_SECONDS_MAX = 90.0
#: A lock file: a thousand packages take some 400 kB.
LOCK_BYTES_MAX = 8 * 1024 * 1024
_OUTPUT_BYTES_MAX = 1024 * 1024

_MANIFEST, _LOCK = "package.json", "package-lock.json"
_OPTIONS = (
    "--package-lock-only",
    "--ignore-scripts",
    "--omit=dev",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
    "--fetch-retries=0",  # the door tries again where that may help
    "--git=/dev/null",
    "--noproxy=",
)
_CODE = re.compile(r"^npm (?:error|ERR!) code (\w+)", re.MULTILINE)
_NO_VERSION = re.compile(r"No matching version found for (\S+?)\.?\s", re.MULTILINE)


async def resolve(program: Path, node: Path, registry: RegistryClient, manifest: Mapping[str, Any]) -> str:
    """Return the text of the lock.

    Args:
        program: npm.
        node: Node.js, which npm runs on.
        registry: where packages come from.
        manifest: the package.json.

    Raises:
        BuildError: what it asks for is not there, or can't be had together.
        FetchError: the registry can't be asked.
        BuilderError: npm failed.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-npm-") as name:
        folder = Path(name)
        (folder / "function").mkdir()
        (folder / "function" / _MANIFEST).write_text(json.dumps(manifest))
        async with RegistryDoor(registry).opened() as door:
            tool = child.Tool(
                [program, "install", *_OPTIONS, *_places(folder, door)],
                folder / "function",
                RESOLVE_SECONDS_MAX,
                _OUTPUT_BYTES_MAX,
                environment={"PATH": str(node.parent), "HOME": name},
            )
            try:
                await child.run(tool)
            except BuilderError as error:
                raise _explained(error, door, manifest) from error
        lock = folder / "function" / _LOCK
        if not lock.is_file() or lock.stat().st_size > LOCK_BYTES_MAX:
            raise BuilderError(f"npm wrote no lock file of at most {LOCK_BYTES_MAX} bytes")
        return lock.read_text()


async def default_registry(program: Path, node: Path) -> str:
    """Return the URL of the registry that npm takes where nobody has said anything; raises BuilderError."""
    with tempfile.TemporaryDirectory(prefix="skerry-npm-") as name:
        files = [f"--userconfig={name}/npmrc", f"--globalconfig={name}/global-npmrc"]
        tool = child.Tool(
            [program, "config", "get", "registry", *files],
            Path(name),
            RESOLVE_SECONDS_MAX,
            _OUTPUT_BYTES_MAX,
            environment={"PATH": str(node.parent), "HOME": name},
        )
        return (await child.run(tool)).decode().strip()


def _places(folder: Path, door: RegistryDoor) -> list[str]:
    return [
        f"--registry={door.url}",
        f"--proxy={door.proxy_url}",
        f"--https-proxy={door.proxy_url}",
        f"--cache={folder / 'cache'}",
        f"--userconfig={folder / 'npmrc'}",
        f"--globalconfig={folder / 'global-npmrc'}",
    ]


def _explained(error: BuilderError, door: RegistryDoor, manifest: Mapping[str, Any]) -> Exception:
    """Say what npm's failure means; its own words may hold the door's address, and stay in the log."""
    if door.failure is not None:
        return door.failure
    if door.refused:
        hosts = listed(sorted(set(door.refused)))
        return _fault(f"a dependency is not of the npm registry (it asks for {hosts}), and only those are installed")
    if door.missing:
        return _fault(f"the npm registry has no package {listed(sorted(set(door.missing)))}")
    code = _CODE.search(error.detail)
    if code and code[1] == "ETARGET" and (version := _NO_VERSION.search(error.detail)):
        return _fault(f"the npm registry has no version {version[1]}")
    if code and code[1] == "ERESOLVE":
        return _fault("the dependencies exclude each other (npm says ERESOLVE): their peer dependencies do not fit")
    if code:
        asked = ", ".join(f"{name}@{version}" for name, version in manifest["dependencies"].items())
        return _fault(f"npm can't resolve {asked}: it says {code[1]}")
    return error


def _fault(message: str) -> BuildError:
    return BuildError([Diagnostic(message)])
