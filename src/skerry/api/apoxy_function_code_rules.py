"""What may stand where the code of an edge function comes from: every rule for its sources.

Owns what is refused, and its words. Does not own the fields, nor what a URL stands for (`apoxy_function_code`).
"""

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from skerry.api.apoxy_function_code import (
    PACKAGE_NAME,
    PACKAGE_VERSION,
    EdgeFunctionCodeSource,
    GoPluginSource,
    JavaScriptGitSource,
    JavaScriptNpmSource,
    JavaScriptSource,
    OCICredentials,
    OCICredentialsObjectReference,
    OCIImageRef,
    SecretReference,
    SourceFile,
    password_of,
    pinned_place,
    plugin_place,
    repository_place,
)
from skerry.api.config_text import config_json
from skerry.api.fields import FieldError, duplicate, forbidden, invalid, not_supported, required, too_many

ASSET_FILES_MAX = 1000
#: As npm has it.
PACKAGE_NAME_CHARACTERS_MAX = 214
#: It is only looked for among the names that a repository has.
_BRANCH = re.compile(r"(?!refs/heads/)[^\s\x00-\x1f\x7f]{1,244}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
