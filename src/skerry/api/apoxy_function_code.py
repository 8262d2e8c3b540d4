"""Where the code of an edge function comes from: its sources, their defaults, and what their URLs stand for.

Part of extensions.apoxy.dev/v1alpha2. Source: Apoxy's Extensions API reference; docs/reference/edge-function.md
lists each choice where its server and its document differ. The rules are in `apoxy_function_code_rules`.
"""

import base64
import re
from collections.abc import Iterator
from typing import Annotated

from skerry.api.code_urls import CodeUrl, FileUrl, HttpUrl, OciReference, parse_code_url
from skerry.api.model import SECRET_FIELD, WRITE_ONLY, Model, ObjectMeta, list_map

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
