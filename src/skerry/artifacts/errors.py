"""What can go wrong with an artifact.

SkerryError
├── BuildError          the function's own source is at fault: tell its author, do not try again
├── BundleRefusedError  the engine could not load a bundle; raised by a `BundleCheck`, becomes a BuildError
├── BuilderError        the builder is at fault (tool missing, killed, too slow): try again later
├── FetchError          code could not be brought; `reason` says what of
│   └── SignatureError  it was brought, and its signature does not hold
├── ObjectUrlError      an object of a configuration lies nowhere
├── BadDigestError      a text is no digest of ours
├── ArtifactMissingError
├── ArtifactCorruptError
├── KeepFullError       the keep's size limit is reached (HTTP 507)
└── KeepUnavailableError  the keep is elsewhere and can't be reached: try again later (HTTP 503)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skerry.kit.errors import SkerryError

#: Diagnostics told in one sentence; a syntax error near the top can bring hundreds that help nobody.
DIAGNOSTICS_TOLD_MAX = 5

#: Names told in one diagnostic, and their characters together: within the text of one, with room for what they are.
NAMES_TOLD_MAX = 20
NAMES_CHARACTERS_MAX = 300

#: Characters of one diagnostic's text, and of one excerpt: a minified line can be megabytes long.
TEXT_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault in a function's source.

    Attributes:
        message: what is wrong, without its place.
        file: the file as its author named it; empty where the fault has no place.
        line: counted from 1; 0 where unknown.
        column: in characters from 1, as editors count; 0 where unknown.
        excerpt: the source line; empty where unknown.
        needs_node: whether Node.js has what the source lacks here.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    excerpt: str = ""
    needs_node: bool = False

    def __str__(self) -> str:
        """Write it as compilers do: `src/main.ts:3:14: message`."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}: {shortened(self.message)}" if place else shortened(self.message)


def shortened(text: str) -> str:
    """Cut a text to `TEXT_CHARACTERS_MAX`, with an ellipsis where something is missing."""
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def listed(names: Sequence[str]) -> str:
    """Join names with commas, in their order, and say how many there are besides those that are told."""
    told: list[str] = []
    for name in names[:NAMES_TOLD_MAX]:
        if len(", ".join([*told, name])) > NAMES_CHARACTERS_MAX:
            break
        told.append(name)
    if len(names) == len(told):
        return ", ".join(told) or "none"
    return f"{', '.join(told)} and {len(names) - len(told)} more" if told else f"{len(names)} with long names"


class BuildError(SkerryError):
    """A function's source does not build; `diagnostics` says what and where, at least one.

    Its public sentence joins the first `DIAGNOSTICS_TOLD_MAX` of them, so it is bounded.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        told = [str(diagnostic) for diagnostic in diagnostics[:DIAGNOSTICS_TOLD_MAX]]
        if len(diagnostics) > len(told):
            told.append(f"and {len(diagnostics) - len(told)} more")
        super().__init__("; ".join(told), detail="\n".join(d.excerpt for d in diagnostics if d.excerpt))
        self.diagnostics = tuple(diagnostics)

    @property
    def needs_node(self) -> bool:
        """Whether the source is without fault on Node.js, as far as is known."""
        return all(diagnostic.needs_node for diagnostic in self.diagnostics)


class BundleRefusedError(SkerryError):
    """The engine evaluated a bundle and it failed: a syntax it lacks, or code that throws at load.

    Args:
        message: what the engine says, such as "TypeError: x is not a function".
        line: line of the bundle, counted from 1; 0 where the engine gives none.
        column: column of the bundle in UTF-16 units, counted from 1; 0 where the engine gives none.
    """

    def __init__(self, message: str, *, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class BuilderError(SkerryError):
    """The build could not be carried out; the source may be fine, and a later try may succeed."""


FetchReason = Literal[
    "CredentialsInvalid",
    "DigestMismatch",
    "DownloadFailed",
    "EgressRefused",
    "ImageUnsupported",
    "KeepFull",
    "ManifestFailed",
    "NotFound",
    "NotProxyWasm",
    "NotSharedObject",
    "NotWasm",
    "SignatureInvalid",
    "TimedOut",
    "TooLarge",
    "Unauthorized",
]


class FetchError(SkerryError):
    """Code could not be brought.

    Args:
        reason: the word for a condition, and for metrics.
        message: one sentence: what was tried, what came of it, what would help. Never a credential.
    """

    def __init__(self, reason: FetchReason, message: str) -> None:
        super().__init__(shortened(message))
        self.reason = reason


class SignatureError(FetchError):
    """Code was brought, and is not signed as its verification key asks for."""

    def __init__(self, message: str) -> None:
        super().__init__("SignatureInvalid", message)


class ObjectUrlError(SkerryError):
    """There is no URL for an object of a configuration."""


class BadDigestError(SkerryError):
    """A text does not read `sha256:` and 64 lower-case hexadecimal digits."""


class ArtifactMissingError(SkerryError):
    """The keep has no artifact of this digest."""


class ArtifactCorruptError(SkerryError):
    """A kept file no longer has the content that its name promises; putting it again mends it."""


class KeepFullError(SkerryError):
    """The keep would outgrow its size limit; nothing was written."""


class KeepUnavailableError(SkerryError):
    """The place of artifacts can't be reached, or cannot serve now; the same call may succeed later."""
