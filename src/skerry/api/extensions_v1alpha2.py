"""extensions.apoxy.dev/v1alpha2: EdgeFunction and EdgeFunctionRevision.

Source: Apoxy's Extensions API reference. Where Apoxy's own server differs from its document or lets bad input
through, the document and the user win; docs/reference/edge-function.md lists each choice.
"""

import base64
import hashlib
import posixpath
import re
from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import yaml
from pydantic import AfterValidator, Field

from skerry.api.code_urls import CodeUrl, parse_code_url
from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, duplicate, forbidden, invalid, not_supported, required, too_many
from skerry.api.kinds import Column, Kind, condition_status, value_at
from skerry.api.model import (
    SECRET_FIELD,
    Conditions,
    Document,
    Int64,
    Model,
    ObjectMeta,
    Port,
    Resource,
    list_map,
    to_document,
)
from skerry.api.names import LABEL_CHARACTERS_MAX, SUBDOMAIN_CHARACTERS_MAX

GROUP = "extensions.apoxy.dev"
VERSION = "v1alpha2"

#: Which function a revision belongs to, as Apoxy labels it.
FUNCTION_LABEL = "extensions.apoxy.dev/edgefunction"

BACKEND = "backend"
FILTER = "filter"
MODES = (BACKEND, FILTER)

TIMEOUT_SECONDS_DEFAULT = 30.0
#: Longer than any client waits; a bound, so that no instance is held for ever.
TIMEOUT_SECONDS_MAX = 3600.0
REVISION_HISTORY_LIMIT_DEFAULT = 10
REVISION_HISTORY_LIMIT_MAX = 1000
#: The function's name is the value of a label of its revisions.
FUNCTION_NAME_CHARACTERS_MAX = LABEL_CHARACTERS_MAX
ASSET_FILES_MAX = 1000
ENV_VARS_MAX = 1000


def _check_timeout(text: str) -> str:
    if not 0 < parse_seconds(text) <= TIMEOUT_SECONDS_MAX:
        raise ValueError(f"must be greater than 0s and at most {TIMEOUT_SECONDS_MAX:.0f}s")
    return text


class SourceFile(Model):
    """One source file of a function."""

    path: str
    """Relative path of the file, with forward slashes, such as src/index.js."""
    content: str
    """The file's text."""


class JavaScriptAssetsSource(Model):
    """Source files given within the object."""

    files: Annotated[list[SourceFile], list_map("path")]
    """The source files."""


class JavaScriptGitSource(Model):
    """Source files in a git repository."""

    repository: str
    """The git repository URL."""
    branch: str | None = None
    """The git branch."""
    commit: str | None = None
    """The git commit."""


class JavaScriptNpmSource(Model):
    """Source files in an npm package."""

    package: str
    """The npm package name."""
    version: str | None = None
    """The npm package version."""


class JavaScriptSource(Model):
    """Where a function's JavaScript or TypeScript comes from; exactly one of assets, git and npm."""

    entrypoint: str
    """Path of the module whose default export handles requests."""
    assets: JavaScriptAssetsSource | None = None
    """Source files given within the object."""
    git: JavaScriptGitSource | None = None
    """Source files in a git repository."""
    npm: JavaScriptNpmSource | None = None
    """Source files in an npm package."""


class WasmSource(Model):
    """Where a WebAssembly function comes from."""

    url: str
    """URL of the WebAssembly binary: oci, https, http or file. It may end in #sha256=DIGEST, which pins its content."""


_PIN = re.compile(r"sha256=([0-9a-f]{64})")


def wasm_place(url: str) -> tuple[CodeUrl, str]:
    """Read a `wasmSource.url`: the place, and the sha256 that it is pinned to or "".

    Raises:
        ValueError: what is wrong, and what is accepted.
    """
    place, hash_mark, fragment = url.partition("#")
    pin = _PIN.fullmatch(fragment)
    if hash_mark and not pin:
        raise ValueError("a fragment must be #sha256= and 64 lower-case hexadecimal digits")
    return parse_code_url(place), pin[1] if pin else ""


class OCICredentials(Model):
    """Credentials for pulling an OCI image."""

    username: str | None = None
    """Username for the registry."""
    password: Annotated[str | None, SECRET_FIELD] = None
    """Password for the registry. Write-only: it is moved to passwordData."""
    password_data: Annotated[str | None, SECRET_FIELD] = None
    """The base64 encoded password for the registry, as a byte field: base64 once more on the wire."""


class OCICredentialsObjectReference(Model):
    """Names the secret that holds credentials for pulling an OCI image."""

    group: str
    """Group of the target; empty for a core Secret."""
    kind: str | None = None
    """Kind of the target."""
    name: str
    """Name of the target."""
    namespace: str
    """Namespace of the target."""


class OCIImageRef(Model):
    """Names an OCI image."""

    repo: str
    """Repository of the image, such as ghcr.io/acme/plugin."""
    tag: str | None = None
    """Tag of the image."""
    credentials: OCICredentials | None = None
    """Credentials for pulling; only one of credentials and credentialsRef."""
    credentials_ref: OCICredentialsObjectReference | None = None
    """The secret with credentials for pulling; only one of credentials and credentialsRef."""


class GoPluginSource(Model):
    """Where a Go filter plugin comes from; exactly one of url and oci."""

    url: str | None = None
    """URL of the plugin's .so file."""
    oci: OCIImageRef | None = None
    """OCI image that holds the plugin."""
    plugin_config: str | None = None
    """Configuration of the plugin: a JSON or YAML object, which it receives as a Struct in an Any."""


class EdgeFunctionCodeSource(Model):
    """Where a function's code comes from; exactly one of the three sources."""

    metadata: ObjectMeta | None = None
    """Metadata of the code; its name is the Go plugin's name."""
    js_source: JavaScriptSource | None = None
    """JavaScript or TypeScript, built into a WebAssembly binary before it is deployed."""
    wasm_source: WasmSource | None = None
    """A WebAssembly binary."""
    go_plugin_source: GoPluginSource | None = None
    """A Go filter plugin for Envoy; only in mode filter."""


class EnvVar(Model):
    """One environment variable."""

    name: str
    """Name of the variable."""
    value: str
    """Value of the variable."""


class RuntimeCapabilities(Model):
    """What a function may use."""

    fetch_api: bool | None = Field(default=None, alias="fetchAPI")
    """Whether the function may fetch from the internet. Defaults to true."""
    kv: bool | None = None
    """Whether the function may use the key/value store. Defaults to true."""


class EdgeFunctionRuntime(Model):
    """How a function is run."""

    capabilities: RuntimeCapabilities | None = None
    """What the function may use."""
    port: Port | None = None
    """Port that the function listens on; only in mode backend. Defaults to 8080."""
    timeout: Annotated[str, AfterValidator(_check_timeout)] | None = None
    """Longest time that one request may take, such as 30s or 1m30s. Defaults to 30s; at most 1h."""


class EdgeFunctionRevisionSpec(Model):
    """A function's code and how it is run."""

    mode: str | None = None
    """backend (the function answers) or filter (it sees requests on their way to a backend)."""
    code: EdgeFunctionCodeSource
    """Where the code comes from."""
    env: Annotated[list[EnvVar] | None, list_map("name")] = None
    """Environment variables of the function."""
    runtime: EdgeFunctionRuntime | None = None
    """How the function is run."""

    @property
    def timeout_seconds(self) -> float:
        """How long one request may take."""
        timeout = self.runtime.timeout if self.runtime else None
        return parse_seconds(timeout) if timeout else TIMEOUT_SECONDS_DEFAULT

    @property
    def may_fetch(self) -> bool:
        """Whether the function has the capability fetchAPI."""
        capabilities = self.runtime.capabilities if self.runtime else None
        return capabilities is None or capabilities.fetch_api is not False

    @property
    def has_kv(self) -> bool:
        """Whether the function has the capability kv."""
        capabilities = self.runtime.capabilities if self.runtime else None
        return capabilities is None or capabilities.kv is not False


class EdgeFunctionSpec(Model):
    """The desired state of a function."""

    template: EdgeFunctionRevisionSpec
    """The function as it shall be; each change makes a new revision."""
    dynamic_plugin_config: str | None = None
    """Configuration sent to a Go plugin with each route, a JSON or YAML object; a change makes no new revision."""
    revision_history_limit: Annotated[int, Field(ge=0, le=REVISION_HISTORY_LIMIT_MAX)] = REVISION_HISTORY_LIMIT_DEFAULT
    """How many revisions to keep, the live one among them. Defaults to 10."""


class EdgeFunctionStatus(Model):
    """The present state of a function."""

    live_revision: str | None = None
    """Name of the revision that serves; it moves only to a revision that is ready."""
    serving_revision: str | None = None
    """Name of the revision that the gateways route to by now; Skerry's own addition."""
    observed_generation: Int64 | None = None
    """The generation that this status was made from."""
    conditions: Conditions = None
    """Ready: requests are answered by the live revision. Latest: the live revision is that of the template."""


class EdgeFunction(Resource):
    """A function that runs at the edge, behind the gateway."""

    spec: EdgeFunctionSpec
    """The desired state."""
    status: EdgeFunctionStatus = Field(default_factory=EdgeFunctionStatus)
    """The present state."""


class Artifact(Model):
    """The built code of a revision, as nodes fetch it."""

    digest: str
    """The sha256 that names the bytes, sha256:<hex>."""
    size_bytes: Int64
    """Number of bytes."""


class EdgeFunctionRevisionStatus(Model):
    """The present state of a revision."""

    ref: str | None = None
    """The revision's name, once its code is stored."""
    artifact: Artifact | None = None
    """The built code."""
    conditions: Conditions = None
    """Ready: the code is built, checked and stored."""


class EdgeFunctionRevision(Resource):
    """A function at one state of its template; its spec never changes."""

    spec: EdgeFunctionRevisionSpec
    """The function's template at the time."""
    status: EdgeFunctionRevisionStatus = Field(default_factory=EdgeFunctionRevisionStatus)
    """The present state."""


def revision_name(function: EdgeFunction) -> str:
    """Name the revision of a function's present template: `<function>-<hash>`.

    The hash covers the template alone, so that re-applying an older template finds its older revision (a rollback).
    Its form is Apoxy's (decimal digits in Kubernetes' safe alphabet), its input is ours: canonical JSON.
    """
    canonical = orjson.dumps(to_document(function.spec.template), option=orjson.OPT_SORT_KEYS)
    number = int.from_bytes(hashlib.sha256(canonical).digest()[:4], "big")
    return f"{function.name}-{str(number).translate(_SAFE_DIGITS)}"


_SAFE_DIGITS = str.maketrans("0123456789", "456789bcdf")


def default_template(template: EdgeFunctionRevisionSpec) -> None:
    """Complete a template in place: mode, and the write-only password.

    The port's default is not written down, as Apoxy does: a later change of the mode would have to take it away.
    """
    if not template.mode:
        template.mode = FILTER if template.code.go_plugin_source else BACKEND
    template.mode = template.mode.lower()
    go = template.code.go_plugin_source
    if go and go.oci and go.oci.credentials and go.oci.credentials.password:
        credentials = go.oci.credentials
        # Apoxy keeps base64(password) in a byte field, which JSON encodes once more.
        once = base64.b64encode((credentials.password or "").encode())
        credentials.password_data = base64.b64encode(once).decode()
        credentials.password = None


def _validate_template(template: EdgeFunctionRevisionSpec, path: str) -> Iterator[FieldError]:
    if template.mode not in MODES:
        yield not_supported(f"{path}.mode", template.mode, MODES)
    if template.mode == FILTER and template.runtime and template.runtime.port is not None:
        yield forbidden(f"{path}.runtime.port", "a function in mode filter listens on no port")
    yield from _validate_env(template.env or [], f"{path}.env")
    yield from _validate_code(template, f"{path}.code")


def _validate_env(env: list[EnvVar], path: str) -> Iterator[FieldError]:
    if len(env) > ENV_VARS_MAX:
        yield too_many(path, len(env), ENV_VARS_MAX)
    seen = set()
    for index, variable in enumerate(env):
        at = f"{path}[{index}].name"
        if not variable.name:
            yield required(at)
        elif "=" in variable.name or "\0" in variable.name:
            yield invalid(at, variable.name, "may not contain '=' or NUL")
        elif variable.name in seen:
            yield duplicate(at, variable.name)
        seen.add(variable.name)
        if "\0" in variable.value:
            yield invalid(f"{path}[{index}].value", variable.value, "may not contain NUL")


def _validate_code(template: EdgeFunctionRevisionSpec, path: str) -> Iterator[FieldError]:
    code = template.code
    sources = {"jsSource": code.js_source, "wasmSource": code.wasm_source, "goPluginSource": code.go_plugin_source}
    given = [name for name, source in sources.items() if source is not None]
    if not given:
        yield required(path, "one of jsSource, wasmSource and goPluginSource must be given")
    if len(given) > 1:
        yield forbidden(path, f"only one of {_listed(given)} may be given")
    if code.js_source:
        yield from _validate_javascript(code.js_source, f"{path}.jsSource")
    if code.wasm_source:
        try:
            wasm_place(code.wasm_source.url)
        except ValueError as error:
            yield invalid(f"{path}.wasmSource.url", code.wasm_source.url, str(error))
    if code.go_plugin_source:
        if template.mode == BACKEND:
            yield forbidden(f"{path}.goPluginSource", "a Go plugin runs in mode filter only")
        yield from _validate_go_plugin(code.go_plugin_source, f"{path}.goPluginSource")


def _validate_javascript(source: JavaScriptSource, path: str) -> Iterator[FieldError]:
    origins = {"assets": source.assets, "git": source.git, "npm": source.npm}
    given = [name for name, origin in origins.items() if origin is not None]
    if not given:
        yield required(path, "one of assets, git and npm must be given")
    for index, first in enumerate(given):
        for second in given[index + 1 :]:
            yield forbidden(path, f"only one of {first} and {second} may be given")
    if not source.entrypoint:
        yield required(f"{path}.entrypoint")
    if source.assets:
        yield from _validate_files(source, source.assets.files, path)


def _validate_files(source: JavaScriptSource, files: list[SourceFile], path: str) -> Iterator[FieldError]:
    at = f"{path}.assets.files"
    if not files:
        yield required(at, "at least one file must be given")
    if len(files) > ASSET_FILES_MAX:
        yield too_many(at, len(files), ASSET_FILES_MAX)
    seen: set[str] = set()
    for index, file in enumerate(files):
        yield from _validate_file_path(file.path, f"{at}[{index}].path", seen)
        if not file.content:
            yield required(f"{at}[{index}].content")
        seen.add(posixpath.normpath(file.path))
    if files and source.entrypoint and posixpath.normpath(source.entrypoint) not in seen:
        yield invalid(f"{path}.entrypoint", source.entrypoint, f"must be the path of one of {at}: {_listed(seen)}")


def _validate_file_path(file_path: str, path: str, seen: set[str]) -> Iterator[FieldError]:
    normal = posixpath.normpath(file_path) if file_path else ""
    if not file_path:
        yield required(path)
    elif file_path.startswith("/"):
        yield invalid(path, file_path, "must be a relative path")
    elif normal == ".." or normal.startswith("../"):
        yield invalid(path, file_path, "must not lead outside of the function's folder")
    elif "\0" in file_path or "\\" in file_path or file_path.endswith("/") or normal == ".":
        yield invalid(path, file_path, "must name a file, with forward slashes only")
    elif normal in seen:
        yield duplicate(path, file_path)


def _validate_go_plugin(source: GoPluginSource, path: str) -> Iterator[FieldError]:
    if source.url is None and source.oci is None:
        yield required(path, "one of url and oci must be given")
    if source.url is not None and source.oci is not None:
        yield forbidden(path, "only one of url and oci may be given")
    if source.oci and not source.oci.repo:
        yield required(f"{path}.oci.repo")
    if source.oci and source.oci.credentials and source.oci.credentials_ref:
        yield forbidden(f"{path}.oci", "only one of credentials and credentialsRef may be given")
    yield from _validate_config_object(source.plugin_config, f"{path}.pluginConfig")


def _validate_config_object(text: str | None, path: str) -> Iterator[FieldError]:
    if text is None:
        return
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield invalid(path, text, f"must hold a JSON or YAML object: {error}")
        return
    if not isinstance(value, dict):
        yield invalid(path, text, "must hold a JSON or YAML object")


def _listed(names: Any) -> str:
    names = sorted(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _default_function(function: EdgeFunction) -> None:
    default_template(function.spec.template)


def _validate_function(function: EdgeFunction, _: EdgeFunction | None) -> Iterator[FieldError]:
    if FUNCTION_NAME_CHARACTERS_MAX < len(function.name) <= SUBDOMAIN_CHARACTERS_MAX:  # longer is no name at all
        detail = f"must be no more than {FUNCTION_NAME_CHARACTERS_MAX} characters"
        yield invalid("metadata.name", function.name, detail)
    yield from _validate_template(function.spec.template, "spec.template")
    yield from _validate_config_object(function.spec.dynamic_plugin_config, "spec.dynamicPluginConfig")


def _default_revision(revision: EdgeFunctionRevision) -> None:
    default_template(revision.spec)


def _validate_revision(revision: EdgeFunctionRevision, old: EdgeFunctionRevision | None) -> Iterator[FieldError]:
    if old is not None and revision.spec != old.spec:
        yield forbidden("spec", "a revision never changes; change the EdgeFunction's template, which makes a new one")
    yield from _validate_template(revision.spec, "spec")


def _source_type(code_path: str) -> Any:
    read = value_at(code_path)

    def source_type(document: Document) -> str:
        code = read(document) or {}
        names = {"jsSource": "JavaScript", "wasmSource": "WebAssembly", "goPluginSource": "Go Plugin"}
        return next((name for field, name in names.items() if code.get(field)), "Unknown")

    return source_type


EDGE_FUNCTION = Kind(
    group=GROUP,
    version=VERSION,
    model=EdgeFunction,
    plural="edgefunctions",
    namespaced=False,
    short_names=("ef",),
    categories=("all",),
    columns=(
        Column("Mode", value_at(".spec.template.mode"), description="backend or filter."),
        Column("Source Type", _source_type(".spec.template.code"), description="What the code is."),
        Column("Live Revision", value_at(".status.liveRevision"), description="The revision that serves."),
        Column("Ready", condition_status("Ready"), description="Whether requests are answered."),
    ),
    default=_default_function,
    validate=_validate_function,
    subresources=("log",),
    read_by="view",
    written_by="edit",
)

EDGE_FUNCTION_REVISION = Kind(
    group=GROUP,
    version=VERSION,
    model=EdgeFunctionRevision,
    plural="edgefunctionrevisions",
    namespaced=False,
    short_names=("efr",),
    columns=(
        Column(
            "Function",
            lambda d: d.get("metadata", {}).get("labels", {}).get(FUNCTION_LABEL),
            description="The function that this is a revision of.",
        ),
        Column("Source Type", _source_type(".spec.code"), description="What the code is."),
        Column("Ready", condition_status("Ready"), description="Whether the code is built, checked and stored."),
        Column("Artifact", value_at(".status.artifact.digest"), description="The built code.", priority=1),
    ),
    default=_default_revision,
    validate=_validate_revision,
    read_by="view",
)
