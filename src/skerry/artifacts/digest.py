"""The name of an artifact: the sha256 of its bytes, written `sha256:<64 hexadecimal digits>`.

The spelling is that of OCI descriptors and of Istio's `WasmPlugin.spec.sha256` with its prefix, so a digest
can be copied between them. Invariant: a `Digest` that exists is well formed, so it is safe in a path.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from skerry.artifacts.errors import BadDigestError

_FORM = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A sha256 digest; `hexadecimal` is its 64 lower-case digits. Make one with `of` or `parse`."""

    hexadecimal: str

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(str(self)):
            raise BadDigestError(f"not a sha256 in lower-case hexadecimal: {self.hexadecimal[:80]!r}")

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Compute the digest of some bytes."""
        return cls(hashlib.sha256(content).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str()` wrote; raises BadDigestError for any other text."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise BadDigestError(f'a digest reads "sha256:" and 64 hexadecimal digits, not {text[:80]!r}')
        return cls(match[1])

    def __str__(self) -> str:
        return f"sha256:{self.hexadecimal}"
