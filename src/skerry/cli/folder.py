"""An EdgeFunction from a folder: which files, which entrypoint."""

import json
from pathlib import Path

from skerry.api.apoxy_function_code import EdgeFunctionCodeSource, JavaScriptAssetsSource, JavaScriptSource, SourceFile
from skerry.api.extensions_v1alpha2 import (
    EDGE_FUNCTION,
    EdgeFunction,
    EdgeFunctionRevisionSpec,
    EdgeFunctionRuntime,
    EdgeFunctionSpec,
    EnvVar,
)
from skerry.api.model import ObjectMeta
from skerry.kit.errors import ConfigurationError

#: Files of these kinds are part of a function.
SUFFIXES = {".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".json", ".txt"}
SKIPPED_FOLDERS = {"node_modules", "dist", "build", "coverage"}
ENTRYPOINTS = tuple(
    f"{stem}{end}" for stem in ("index", "main", "src/index", "src/main") for end in (".ts", ".js", ".mjs")
)
#: The API takes objects of 3 MiB; more source than this can't fit.
SOURCE_BYTES_MAX = 2 * 1024 * 1024


def function_from_folder(
    folder: Path, *, name: str, entrypoint: str | None, env: dict[str, str], timeout: str | None
) -> EdgeFunction:
    """Build the EdgeFunction object of a folder's sources; raises ConfigurationError."""
    files = read_sources(folder)
    code = JavaScriptSource(
        entrypoint=entrypoint or find_entrypoint(folder, files),
        assets=JavaScriptAssetsSource(files=[SourceFile(path=p, content=c) for p, c in files.items()]),
    )
    template = EdgeFunctionRevisionSpec(
        mode="backend",
        code=EdgeFunctionCodeSource(js_source=code),
        env=[EnvVar(name=key, value=value) for key, value in env.items()] or None,
        runtime=EdgeFunctionRuntime(timeout=timeout) if timeout else None,
    )
    return EdgeFunction(
        api_version=EDGE_FUNCTION.api_version,
        kind=EDGE_FUNCTION.kind,
        metadata=ObjectMeta(name=name),
        spec=EdgeFunctionSpec(template=template),
    )


def read_sources(folder: Path) -> dict[str, str]:
    """Read a folder's source files by their relative paths, sorted; hidden and installed ones are left out."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder")
    files: dict[str, str] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in relative.parts)
        if hidden or path.suffix not in SUFFIXES or not path.is_file() or path.stat().st_size == 0:
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{path} is a link that leads out of {folder}: copy the file, or remove the link")
        size += path.stat().st_size
        if size > SOURCE_BYTES_MAX:
            raise ConfigurationError(f"{folder}: its sources are larger than {SOURCE_BYTES_MAX} bytes, at {relative}")
        try:
            files[relative.as_posix()] = path.read_text()
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: not UTF-8 text") from error
    if not files:
        raise ConfigurationError(f"{folder} holds no source file ({', '.join(sorted(SUFFIXES))})")
    return files


def find_entrypoint(folder: Path, files: dict[str, str]) -> str:
    """Return the entrypoint that package.json names, else the first of `ENTRYPOINTS`."""
    if "package.json" in files:
        try:
            package = json.loads(files["package.json"])
        except ValueError as error:
            raise ConfigurationError(f"{folder / 'package.json'}: not valid JSON: {error}") from error
        for field in ("module", "main"):
            named = str(package.get(field, "")).removeprefix("./")
            if named in files:
                return named
    for candidate in ENTRYPOINTS:
        if candidate in files:
            return candidate
    listed = ", ".join(ENTRYPOINTS)
    raise ConfigurationError(f"{folder}: no entrypoint found (looked for {listed}); give --entrypoint")
