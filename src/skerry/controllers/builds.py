"""What the controller of functions and the ways of code agree on: source in, stored artifact out."""

from dataclasses import dataclass
from typing import Protocol

from skerry.api.extensions_v1alpha2 import Artifact, EdgeFunctionRevision, ResolvedSource
from skerry.artifacts.errors import FetchReason
from skerry.kit.errors import SkerryError

#: Failed fetches that another try would meet again.
FINAL: frozenset[FetchReason] = frozenset(
    ("DigestMismatch", "ImageUnsupported", "NotSharedObject", "NotWasm", "TooLarge")
)


class SourceError(SkerryError):
    """A revision's source is at fault: the same source would fail again, so it is not tried again."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a build makes.

    Attributes:
        artifact: the stored code.
        source: what its source stood for; None where it says everything itself.
        note: what its author should know, one sentence; "" for nothing.
    """

    artifact: Artifact
    source: ResolvedSource | None = None
    note: str = ""


class CodeBuilder(Protocol):
    """What the controller needs of `artifacts`: source in, stored artifact out."""

    async def build(self, revision: EdgeFunctionRevision) -> Built:
        """Bring, build, check and store a revision's code.

        What its source stood for when it was built before stands in its status; it is built from the same again.

        Raises:
            SourceError: the source is at fault.
            SkerryError: anything else; the build is tried again, with backoff.
        """
        ...

    async def is_stored(self, artifact: Artifact) -> bool:
        """Tell whether an artifact is at hand and whole: a disk can lose what a status still names."""
        ...
