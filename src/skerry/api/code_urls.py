"""URLs of code: an OCI reference, an http(s) address, or a file.

    oci://registry/repository[:tag][@sha256:digest]      the scheme may be left out
    http://host/path    https://host/path
    file:///absolute/path

Decides what a `url` field of any kind means. Pure; bringing the code is `artifacts`' part. The grammar of references
is that of https://github.com/distribution/reference, with Docker Hub as the registry of names that have none.

Invariant: `parse_code_url(str(parsed)) == parsed`.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

#: Longer than any URL that servers take.
URL_CHARACTERS_MAX = 2048
#: Registry and repository together, as in the reference grammar.
OCI_NAME_CHARACTERS_MAX = 255
#: The registry of a reference that names none.
DOCKER_HUB = "docker.io"
#: The tag of a reference that has neither tag nor digest.
TAG_DEFAULT = "latest"

#: What an error says is accepted.
ACCEPTED = (
    "an OCI reference such as registry.example.com/plugins/auth:v1 (with or without oci://), "
    "https://..., http://... or file:///..."
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII)
_IMAGE = re.compile(
    rf"(?P<repository>{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@sha256:(?P<digest>[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class OciReference:
    """An image or artifact in an OCI registry.

    Attributes:
        registry: host and port, such as `localhost:5000`.
        repository: such as `plugins/auth`.
        tag: "" where a digest stands alone; `latest` where the reference has neither.
        digest: 64 hexadecimal digits of the manifest's sha256, or "".
    """

    registry: str
    repository: str
    tag: str = TAG_DEFAULT
    digest: str = ""

    def __str__(self) -> str:
        """Write it with its scheme, registry and tag in full."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@sha256:{self.digest}" if self.digest else ""
        return f"oci://{self.registry}/{self.repository}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A file behind http or https."""

    url: str

    def __str__(self) -> str:
        """Write it as it is."""
        return self.url


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A file of the machine that Skerry runs on; `path` is absolute."""

    path: str

    def __str__(self) -> str:
        """Write it with its scheme."""
        return f"file://{self.path.replace('%', '%25')}"


CodeUrl = OciReference | HttpUrl | FileUrl


def parse_code_url(text: str) -> CodeUrl:
    """Read a URL of code; raises ValueError that says what is wrong and what is accepted."""
    if not text:
        raise ValueError(f"must be {ACCEPTED}")
    if len(text) > URL_CHARACTERS_MAX:
        raise ValueError(f"must have at most {URL_CHARACTERS_MAX} characters")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("must not hold spaces or control characters")
    match = _SCHEME.fullmatch(text)
    scheme, rest = (match[1].lower(), match[2]) if match else _split_bare(text)
    match scheme:
        case "oci":
            return _reference(rest)
        case "http" | "https":
            return _http(scheme, rest)
        case "file":
            return _file(rest)
        case _:
            raise ValueError(f"scheme {scheme} is not supported: must be {ACCEPTED}")


def _split_bare(text: str) -> tuple[str, str]:
    """Read a text without `://`: an OCI reference, save for `file:/path`."""
    if text.lower().startswith("file:/"):
        return "file", text[len("file:") :]
    if text.startswith("/"):
        raise ValueError(f"a path is no OCI reference: for a file write file://{text}")
    return "oci", text


def _reference(text: str) -> OciReference:
    first, slash, rest = text.partition("/")
    registry, image = (first.lower(), rest) if slash and _is_registry(first) else (DOCKER_HUB, text)
    host, match = _REGISTRY.fullmatch(registry), _IMAGE.fullmatch(image)
    if host is None or match is None:
        raise ValueError(
            "not an OCI reference: must be [registry[:port]/]repository[:tag][@sha256:<64 hexadecimal digits>], "
            "the repository in lower case"
        )
    if host["port"] and not 1 <= int(host["port"]) <= 65535:
        raise ValueError("the registry's port must be between 1 and 65535")
    repository, digest = match["repository"], match["digest"] or ""
    if registry == f"index.{DOCKER_HUB}":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if len(registry) + 1 + len(repository) > OCI_NAME_CHARACTERS_MAX:
        raise ValueError(f"registry and repository must have at most {OCI_NAME_CHARACTERS_MAX} characters together")
    return OciReference(registry, repository, match["tag"] or ("" if digest else TAG_DEFAULT), digest)


def _is_registry(part: str) -> bool:
    """Tell whether the first part of a reference is a registry, by Docker's rule."""
    return part.lower() == "localhost" or "." in part or ":" in part or part != part.lower()


def _http(scheme: str, rest: str) -> HttpUrl:
    parts = _split(f"{scheme}://{rest}")
    if not parts.hostname:
        raise ValueError(f"must name a host: {scheme}://host/path")
    if parts.username is not None:
        raise ValueError("must not hold a user or a password: who reads the object would read them too")
    return HttpUrl(parts._replace(fragment="").geturl())


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # is read, and checked, on access only
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from error
    return parts


def _file(rest: str) -> FileUrl:
    path = unquote(rest)
    if not path.startswith("/") or path.startswith("//") or path == "/":
        raise ValueError("must be an absolute path: file:///path/to/module.wasm")
    if "\0" in path:
        raise ValueError("must not hold a NUL")
    return FileUrl(path)
