"""An EdgeFunction from a folder: which files, which entrypoint, and what its edgefunction.yaml says.

    index.ts  lib/...  package.json  package-lock.json     the source
    edgefunction.yaml                                      the rest: name, env, runtime; its code may be left out
    .dev.vars                                              NAME=VALUE lines for `skerry dev` alone

Owns how a folder is read. The same reading is deployed and developed with.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from skerry.api.decoding import complete, decode
from skerry.api.egress_policy_v1alpha1 import EGRESS_POLICY, EgressPolicy
from skerry.api.errors import ApiError
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EdgeFunction
from skerry.api.function_template import EnvVar
from skerry.api.model import Document
from skerry.artifacts.sources import SOURCE_SUFFIXES
from skerry.kit.errors import ConfigurationError

MANIFEST = "edgefunction.yaml"
VARIABLES = ".dev.vars"
#: Not part of a function: it would make a revision of its own at every word.
_README = "README.md"
#: What an empty file is sent as: the API takes none without content.
_EMPTY = "\n"
SKIPPED_FOLDERS = frozenset(("node_modules", "dist", "build", "coverage", "target"))
ENTRYPOINTS = tuple(
    f"{stem}{end}" for stem in ("index", "main", "src/index", "src/main") for end in (".ts", ".js", ".mjs")
)
#: The API takes objects of 3 MiB; more source than this can't fit.
SOURCE_BYTES_MAX = 2 * 1024 * 1024
#: Of edgefunction.yaml and of .dev.vars.
SETTINGS_BYTES_MAX = 1024 * 1024
#: How a binary of the folder is told from an image of a registry.
_HERE = "./"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a command line says of a function; None or nothing leaves it to the folder."""

    name: str | None = None
    entrypoint: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    timeout: str | None = None
    egress_policies: tuple[Path, ...] = ()
    upstream: str | None = None


def read_project(folder: Path, wishes: Wishes) -> EdgeFunction:
    """Read a folder as an EdgeFunction, defaulted and valid; raises ConfigurationError that says what is wrong."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder")
    document = _manifest(folder)
    metadata, spec = document.setdefault("metadata", {}), document.setdefault("spec", {})
    template = spec.setdefault("template", {})
    metadata["name"] = wishes.name or metadata.get("name") or folder.resolve().name.lower().replace("_", "-")
    code = template.setdefault("code", {})
    if not code.get("wasmSource") and not code.get("goPluginSource"):
        _fill_sources(folder, code, wishes.entrypoint)
    elif str(url := (code.get("wasmSource") or {}).get("url", "")).startswith(_HERE):
        code["wasmSource"]["url"] = _pinned(folder / url)
    if wishes.timeout:
        template.setdefault("runtime", {})["timeout"] = wishes.timeout
    try:
        decoded = decode(EDGE_FUNCTION, document)
        function = decoded.object
        _set_env(function, wishes.env)
        complete(EDGE_FUNCTION, function, None)
    except ApiError as error:
        raise ConfigurationError(f"{folder}: {error.public}") from error
    if decoded.unknown:
        raise ConfigurationError(f"{folder / MANIFEST}: unknown fields {', '.join(decoded.unknown)}")
    return function


def read_egress_policies(files: Iterable[Path]) -> list[EgressPolicy]:
    """Read EgressPolicies, any number a file; raises ConfigurationError that says what is wrong."""
    policies = []
    for path in files:
        if not path.is_file():
            raise ConfigurationError(f"{path} is not a file")
        try:
            documents = [document for document in yaml.safe_load_all(_text(path)) if document is not None]
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
        policies += [_egress_policy(path, document) for document in documents]
    return policies


def _egress_policy(path: Path, document: object) -> EgressPolicy:
    wanted = {"apiVersion": EGRESS_POLICY.api_version, "kind": EGRESS_POLICY.kind}
    if not isinstance(document, dict) or {name: document.get(name) for name in wanted} != wanted:
        raise ConfigurationError(f"{path}: must hold {EGRESS_POLICY.kind} of {EGRESS_POLICY.api_version} alone")
    try:
        decoded = decode(EGRESS_POLICY, document)
        complete(EGRESS_POLICY, decoded.object, None)
    except ApiError as error:
        raise ConfigurationError(f"{path}: {error.public}") from error
    if decoded.unknown:
        raise ConfigurationError(f"{path}: unknown fields {', '.join(decoded.unknown)}")
    return decoded.object


def read_sources(folder: Path) -> dict[str, str]:
    """Read a folder's source files by their relative paths, sorted; hidden and installed ones are left out."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder")
    files: dict[str, str] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in relative.parts)
        if hidden or path.suffix not in SOURCE_SUFFIXES or path.name == _README or not path.is_file():
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{path} is a link that leads out of {folder}: copy the file, or remove the link")
        size += path.stat().st_size
        if size > SOURCE_BYTES_MAX:
            raise ConfigurationError(f"{folder}: its sources are larger than {SOURCE_BYTES_MAX} bytes, at {relative}")
        try:
            files[relative.as_posix()] = path.read_text() or _EMPTY
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: not UTF-8 text") from error
    if not files:
        raise ConfigurationError(f"{folder} holds no source file ({', '.join(sorted(SOURCE_SUFFIXES))})")
    return files


def find_entrypoint(folder: Path, files: dict[str, str]) -> str:
    """Return the entrypoint that package.json names, else the first of `ENTRYPOINTS`."""
    if "package.json" in files:
        try:
            package = json.loads(files["package.json"])
        except ValueError as error:
            raise ConfigurationError(f"{folder / 'package.json'}: not valid JSON: {error}") from error
        for name in ("module", "main"):
            named = str(package.get(name, "")).removeprefix("./")
            if named in files:
                return named
    for candidate in ENTRYPOINTS:
        if candidate in files:
            return candidate
    listed = ", ".join(ENTRYPOINTS)
    raise ConfigurationError(f"{folder}: no entrypoint found (looked for {listed}); give --entrypoint")


def read_variables(folder: Path) -> dict[str, str]:
    """Read the variables of `.dev.vars`; there need be none. Raises ConfigurationError that names the line."""
    path = folder / VARIABLES
    variables = {}
    for number, line in enumerate(_text(path).splitlines() if path.is_file() else (), 1):
        name, equals, value = (part.strip() for part in line.strip().partition("="))
        if not name or name.startswith("#"):
            continue
        if not equals:
            raise ConfigurationError(f"{path}:{number}: must be NAME=VALUE")
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        variables[name] = value[1:-1] if quoted else value
    return variables


def _manifest(folder: Path) -> Document:
    empty = {"apiVersion": EDGE_FUNCTION.api_version, "kind": EDGE_FUNCTION.kind}
    path = folder / MANIFEST
    if not path.is_file():
        return empty
    try:
        document = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(document, dict) or {name: document.get(name) for name in empty} != empty:
        raise ConfigurationError(f"{path}: must hold one {EDGE_FUNCTION.kind} of {EDGE_FUNCTION.api_version}")
    for path_of in (("metadata",), ("spec",), ("spec", "template"), ("spec", "template", "code")):
        _require_object(path, document, path_of)
    return document


def _require_object(path: Path, document: Document, fields: tuple[str, ...]) -> None:
    found: Any = document
    for name in fields:
        found = found.get(name, {})
        if not isinstance(found, dict):
            raise ConfigurationError(f"{path}: {'.'.join(fields)} must be an object")


def _fill_sources(folder: Path, code: dict[str, Any], entrypoint: str | None) -> None:
    """Give the code the folder's files, unless it names another place."""
    source = code.setdefault("jsSource", {})
    if not isinstance(source, dict) or source.keys() & {"git", "npm", "assets"}:
        return
    files = read_sources(folder)
    source["entrypoint"] = entrypoint or source.get("entrypoint") or find_entrypoint(folder, files)
    source["assets"] = {"files": [{"path": path, "content": content} for path, content in files.items()]}


def _pinned(binary: Path) -> str:
    """Return the URL of a binary of the folder, pinned: a binary that was built anew makes a new revision."""
    if not binary.is_file():
        raise ConfigurationError(f"there is no {binary}: build it first (see the README.md beside it)")
    return f"file://{binary.resolve()}#sha256={hashlib.sha256(binary.read_bytes()).hexdigest()}"


def _set_env(function: EdgeFunction, more: dict[str, str]) -> None:
    template = function.spec.template
    values = {variable.name: variable.value for variable in template.env or ()} | more
    template.env = [EnvVar(name=name, value=value) for name, value in values.items()] or None


def _text(path: Path) -> str:
    if path.stat().st_size > SETTINGS_BYTES_MAX:
        raise ConfigurationError(f"{path}: larger than {SETTINGS_BYTES_MAX} bytes")
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text") from error
