"""A JavaScript function from its source files or its package: dependencies installed, bundled, tried in the engine.

Owns what `javascript` and `npm` do for each other. Does not own where source files come from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skerry.artifacts.errors import BuildError, Diagnostic, listed
from skerry.artifacts.javascript import BuiltFunction, JavaScriptBuilder
from skerry.artifacts.npm.installing import PackageInstaller
from skerry.artifacts.npm.lock import MANIFEST
from skerry.artifacts.sources import SOURCE_SUFFIXES

#: The entrypoint that stands for a package's own.
PACKAGES_OWN = "."
TAG_DEFAULT = "latest"
_ENTRY = "index.js"


@dataclass(frozen=True, slots=True)
class FunctionBuild:
    """What was built.

    Attributes:
        function: the Wasm binary.
        lock: the package-lock.json that was made for it; "" where its dependencies came with one, or there are none.
        version: of the package that it was made from; "" for one made from files.
    """

    function: BuiltFunction
    lock: str = ""
    version: str = ""


class FunctionBuilder:
    """Builds functions.

    Args:
        javascript: bundles.
        packages: installs.
    """

    def __init__(self, javascript: JavaScriptBuilder, packages: PackageInstaller) -> None:
        self._javascript = javascript
        self._packages = packages

    async def from_files(
        self, files: Mapping[str, str], entrypoint: str, *, lock: str = "", refuse_globals: bool = False
    ) -> FunctionBuild:
        """Build from source files.

        Args:
            files: content by path.
            entrypoint: the path of the module that holds the handler.
            lock: made when this was built before, for files that have none.
            refuse_globals: see `JavaScriptBuilder.build`.

        Raises:
            BuildError: the source, or a dependency, is at fault.
            FetchError: a dependency can't be had.
            BuilderError: the build could not be carried out.
        """
        async with self._packages.installed(files, lock=lock) as installed:
            built = await self._javascript.build(
                files, entrypoint, packages=installed.folder, refuse_globals=refuse_globals
            )
        return FunctionBuild(built, installed.lock)

    async def from_package(self, name: str, version: str, entrypoint: str, *, lock: str = "") -> FunctionBuild:
        """Build from a package of the registry; `version` may be a range or a tag. Raises as `from_files`."""
        manifest = {MANIFEST: json.dumps({"dependencies": {name: version}})}
        async with self._packages.installed(manifest, lock=lock) as installed:
            assert installed.folder is not None  # noqa: S101 - there is a dependency
            resolved = str(json.loads(installed.lock)["packages"][f"node_modules/{name}"]["version"])
            _require_entry(installed.folder / "node_modules" / name, f"{name}@{resolved}", entrypoint)
            module = name if entrypoint == PACKAGES_OWN else f"../node_modules/{name}/{entrypoint}"
            text = f"import * as module from {json.dumps(module)};\nexport default module.default;\n"
            built = await self._javascript.build({_ENTRY: text}, _ENTRY, packages=installed.folder)
        return FunctionBuild(built, installed.lock, resolved)


def _require_entry(folder: Path, package: str, entrypoint: str) -> None:
    if entrypoint == PACKAGES_OWN:
        manifest = json.loads((folder / MANIFEST).read_text()) if (folder / MANIFEST).is_file() else {}
        if not any(manifest.get(field) for field in ("exports", "module", "main")) and not (folder / _ENTRY).is_file():
            raise _fault(f"the package {package} names no entry point: give the path of one of its modules")
    elif not (folder / entrypoint).is_file():
        paths = (path.relative_to(folder) for path in folder.rglob("*.*js") if path.suffix in SOURCE_SUFFIXES)
        modules = sorted((path.as_posix() for path in paths), key=lambda path: (path.count("/"), path))
        raise _fault(f'the entrypoint "{entrypoint}" is no module of the package {package}; it has: {listed(modules)}')


def _fault(message: str) -> BuildError:
    return BuildError([Diagnostic(message)])
