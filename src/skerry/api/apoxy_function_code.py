"""Where the code of an edge function comes from: its sources, their defaults and their rules.

Part of extensions.apoxy.dev/v1alpha2. Source: Apoxy's Extensions API reference; docs/reference/edge-function.md
lists each choice where its server and its document differ.
"""

import base64
import posixpath
import re
from collections.abc import Iterator
from typing import Annotated, Any

from skerry.api.code_urls import CodeUrl, FileUrl, HttpUrl, OciReference, parse_code_url
from skerry.api.config_text import config_json
from skerry.api.fields import FieldError, duplicate, forbidden, invalid, not_supported, required, too_many
from skerry.api.model import SECRET_FIELD, WRITE_ONLY, Model, ObjectMeta, list_map

ASSET_FILES_MAX = 1000
#: As npm has it.
PACKAGE_NAME_CHARACTERS_MAX = 214

#: It is only looked for among the names that a repository has.
_BRANCH = re.compile(r"(?!refs/heads/)[^\s\x00-\x1f\x7f]{1,244}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
PACKAGE_NAME = re.compile(r"(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*")
#: Versions, ranges and tags: whatever names no place, as git and file URLs do.
PACKAGE_VERSION = re.compile(r"[0-9A-Za-z^~<>=*|. +-]{1,100}")


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


class SecretReference(Model):
    """Names the secret that holds credentials for fetching source code."""

    group: str = ""
    """Group of the target; empty for a core Secret."""
    kind: str | None = None
    """Kind of the target. Defaults to Secret."""
    name: str
    """Name of the target."""
    namespace: str
    """Namespace of the target."""


class JavaScriptGitSource(Model):
    """Source files in a git repository."""

    repository: str
    """The git repository URL: https, http or file."""
    branch: str | None = None
    """The git branch. Defaults to the one that the repository's HEAD names."""
    commit: str | None = None
    """The git commit: 40 hexadecimal digits. Defaults to the branch's, as it is when the revision is built."""
    directory: str | None = None
    """Folder of the repository that holds the function, such as functions/hello; Skerry's own addition."""
    credentials_ref: SecretReference | None = None
    """The secret of type kubernetes.io/basic-auth with user and password; Skerry's own addition."""


class JavaScriptNpmSource(Model):
    """Source files in an npm package."""

    package: str
    """The npm package name."""
    version: str | None = None
    """The npm package version: a version, a range or a tag. Defaults to latest."""


class JavaScriptSource(Model):
    """Where a function's JavaScript or TypeScript comes from; exactly one of assets, git and npm."""

    entrypoint: str
    """Path of the module whose default export handles requests; of npm packages, . stands for the package's own."""
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


def pinned_place(url: str) -> tuple[CodeUrl, str]:
    """Read a URL of code that may be pinned: the place, and the sha256 that it is pinned to or "".

    Raises:
        ValueError: what is wrong, and what is accepted.
    """
    place, hash_mark, fragment = url.partition("#")
    pin = _PIN.fullmatch(fragment)
    if hash_mark and not pin:
        raise ValueError("a fragment must be #sha256= and 64 lower-case hexadecimal digits")
    return parse_code_url(place), pin[1] if pin else ""


def repository_place(url: str) -> HttpUrl | FileUrl:
    """Read a `jsSource.git.repository`; raises ValueError that says what is wrong, and what is accepted."""
    place = parse_code_url(url) if url.partition(":")[0].lower() in {"http", "https", "file"} else None
    if place is None or isinstance(place, OciReference):
        raise ValueError("must be https://..., http://... or file:///...")
    return place


class OCICredentials(Model):
    """Credentials for pulling an OCI image."""

    username: str | None = None
    """Username for the registry."""
    password: Annotated[str | None, SECRET_FIELD, WRITE_ONLY] = None
    """Password for the registry. Write-only: it is moved to passwordData."""
    password_data: Annotated[str | None, SECRET_FIELD, WRITE_ONLY] = None
    """The base64 encoded password for the registry, as a byte field: base64 once more on the wire. Write-only."""


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
    """Repository of the image, such as ghcr.io/acme/plugin. It may end in @sha256:DIGEST, which pins the image."""
    tag: str | None = None
    """Tag of the image. Defaults to latest."""
    credentials: OCICredentials | None = None
    """Credentials for pulling; only one of credentials and credentialsRef."""
    credentials_ref: OCICredentialsObjectReference | None = None
    """The secret with credentials for pulling; only one of credentials and credentialsRef."""


class GoPluginSource(Model):
    """Where a Go filter plugin comes from; exactly one of url and oci."""

    url: str | None = None
    """URL of the plugin's .so file: https, http, oci or file. It may end in #sha256=DIGEST, which pins its content."""
    oci: OCIImageRef | None = None
    """OCI image that holds the plugin."""
    plugin_config: str | None = None
    """Configuration of the plugin: a JSON or YAML object, which it receives as a Struct in an Any."""


def plugin_place(source: GoPluginSource) -> tuple[CodeUrl, str]:
    """Read where a Go plugin comes from: the place, and the sha256 that it is pinned to or "".

    Raises:
        ValueError: what is wrong, and what is accepted.
    """
    if source.oci is None:
        return pinned_place(source.url or "")
    tag = f":{source.oci.tag}" if source.oci.tag else ""
    return parse_code_url(f"oci://{source.oci.repo}{tag}"), ""


def password_of(credentials: OCICredentials) -> str:
    """Return the password that credentials hold; raises ValueError, which tells nothing of it."""
    try:
        once = base64.b64decode(credentials.password_data or "", validate=True)
        return base64.b64decode(once, validate=True).decode()
    except ValueError:
        raise ValueError("must be the base64 of the base64 of the password; or give password") from None


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


def secrets_of(code: EdgeFunctionCodeSource) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of each Secret that a code source is brought with."""
    git = code.js_source.git if code.js_source else None
    oci = code.go_plugin_source.oci if code.go_plugin_source else None
    for reference in (git and git.credentials_ref, oci and oci.credentials_ref):
        if reference:
            yield reference.namespace, reference.name


def default_code(code: EdgeFunctionCodeSource) -> None:
    """Complete a code source in place: the write-only password moves to passwordData."""
    go = code.go_plugin_source
    if go and go.oci and go.oci.credentials and go.oci.credentials.password:
        credentials = go.oci.credentials
        # Apoxy keeps base64(password) in a byte field, which JSON encodes once more.
        once = base64.b64encode((credentials.password or "").encode())
        credentials.password_data = base64.b64encode(once).decode()
        credentials.password = None


def keep_password(code: EdgeFunctionCodeSource, old: EdgeFunctionCodeSource) -> None:
    """Keep the stored password in an update that brings none, where image and user are the same.

    Only there: whoever may change the function could have it sent to a registry of their own otherwise.
    """
    image, old_image = (each.go_plugin_source and each.go_plugin_source.oci for each in (code, old))
    if not (image and old_image and image.repo == old_image.repo and image.credentials and old_image.credentials):
        return
    given, stored = image.credentials, old_image.credentials
    if given.username == stored.username and not (given.password or given.password_data):
        given.password_data = stored.password_data


def validate_code(code: EdgeFunctionCodeSource, path: str) -> Iterator[FieldError]:
    """Tell everything that is wrong with a function's code source."""
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
            pinned_place(code.wasm_source.url)
        except ValueError as error:
            yield invalid(f"{path}.wasmSource.url", code.wasm_source.url, str(error))
    if code.go_plugin_source:
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
    if source.git:
        yield from _validate_git(source.git, f"{path}.git")
    if source.npm:
        yield from _validate_npm(source.npm, f"{path}.npm")
    if (source.git or source.npm) and source.entrypoint not in {"", "."}:
        yield from _validate_file_path(source.entrypoint, f"{path}.entrypoint", set())


def _validate_git(source: JavaScriptGitSource, path: str) -> Iterator[FieldError]:
    try:
        repository_place(source.repository)
    except ValueError as error:
        yield invalid(f"{path}.repository", source.repository, str(error))
    if source.branch is not None and not _BRANCH.fullmatch(source.branch):
        yield invalid(
            f"{path}.branch", source.branch, "must be the name of a branch, such as main, without refs/heads/"
        )
    if source.commit is not None and not _COMMIT.fullmatch(source.commit):
        yield invalid(f"{path}.commit", source.commit, "must be a commit in full: 40 lower-case hexadecimal digits")
    if source.directory is not None:
        yield from _validate_file_path(source.directory, f"{path}.directory", set())
    if source.credentials_ref:
        yield from validate_secret_reference(source.credentials_ref, f"{path}.credentialsRef")


def _validate_npm(source: JavaScriptNpmSource, path: str) -> Iterator[FieldError]:
    if not source.package:
        yield required(f"{path}.package")
    elif not PACKAGE_NAME.fullmatch(source.package) or len(source.package) > PACKAGE_NAME_CHARACTERS_MAX:
        yield invalid(f"{path}.package", source.package, "must be the name of a package, such as hono or @scope/name")
    if source.version is not None and not PACKAGE_VERSION.fullmatch(source.version):
        yield invalid(
            f"{path}.version", source.version, "must be a version, a range or a tag, such as 1.2.3, ^1.2 or latest"
        )


def validate_secret_reference(reference: SecretReference, path: str) -> Iterator[FieldError]:
    """Tell what is wrong with the name of a Secret."""
    if reference.group:
        yield invalid(f"{path}.group", reference.group, "must be empty: a Secret is of the core group")
    if reference.kind not in {None, "Secret"}:
        yield invalid(f"{path}.kind", reference.kind, "must be Secret")
    for field in ("name", "namespace"):
        if not getattr(reference, field):
            yield required(f"{path}.{field}")


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
    if source.oci:
        yield from _validate_image(source, source.oci, f"{path}.oci")
    elif source.url is not None:
        yield from _validate_place(source, f"{path}.url", source.url)
    yield from validate_config_object(source.plugin_config, f"{path}.pluginConfig")


def _validate_place(source: GoPluginSource, path: str, value: str) -> Iterator[FieldError]:
    try:
        plugin_place(source)
    except ValueError as error:
        yield invalid(path, value, str(error))


def _validate_image(source: GoPluginSource, image: OCIImageRef, path: str) -> Iterator[FieldError]:
    if not image.repo:
        yield required(f"{path}.repo")
    else:
        yield from _validate_place(source, f"{path}.repo", image.repo)
    if image.credentials and image.credentials_ref:
        yield forbidden(path, "only one of credentials and credentialsRef may be given")
    if image.credentials:
        yield from _validate_credentials(image.credentials, f"{path}.credentials")
    if image.credentials_ref:
        yield from _validate_reference(image.credentials_ref, f"{path}.credentialsRef")


def _validate_credentials(credentials: OCICredentials, path: str) -> Iterator[FieldError]:
    if not credentials.username:
        yield required(f"{path}.username")
    if not credentials.password_data:
        yield required(f"{path}.password", "password, or passwordData, must be given")
        return
    try:
        password_of(credentials)
    except ValueError as error:
        yield FieldError("FieldValueInvalid", f"{path}.passwordData", str(error))  # without the value


def _validate_reference(reference: OCICredentialsObjectReference, path: str) -> Iterator[FieldError]:
    if reference.group or reference.kind not in {None, "", "Secret"}:
        yield not_supported(f"{path}.kind", f"{reference.group}/{reference.kind}", ("/Secret",))
    for name, value in (("name", reference.name), ("namespace", reference.namespace)):
        if not value:
            yield required(f"{path}.{name}")


def validate_config_object(text: str | None, path: str) -> Iterator[FieldError]:
    """Tell why a text is no JSON or YAML object; nothing is wrong with None."""
    if text is None:
        return
    try:
        config_json(text)
    except ValueError as error:
        yield invalid(path, text, str(error))


def _listed(names: Any) -> str:
    names = sorted(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
