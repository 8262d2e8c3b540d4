"""What code may be, as far as bringing it depends on that: how it is known, and where images and archives hold it.

Does not own what is true of good code of a form: `Source.accept` tells that.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from skerry.artifacts.errors import FetchReason


@dataclass(frozen=True, slots=True)
class CodeForm:
    """One form of code.

    Attributes:
        name: as in "the code is no Wasm module".
        magic: the bytes that it begins with.
        reason: why a fetch fails that brings something else.
        layer_types: media types of layers that are the code, or an archive with it alone.
        file_name: which file of an image's file system is the code, as a pattern of a whole name.
        platforms: of an index's images, operating system and architecture, the best first.
    """

    name: str
    magic: bytes
    reason: FetchReason
    layer_types: frozenset[str]
    file_name: str
    platforms: tuple[tuple[str, str], ...]

    def is_in_image(self, path: str) -> bool:
        """Tell by a path of an image's file system whether the code is there, in whatever folder."""
        return PurePosixPath(path).match(self.file_name)


WASM_MODULE = CodeForm(
    name="Wasm module",
    magic=b"\0asm",
    reason="NotWasm",
    layer_types=frozenset(
        {
            "application/vnd.module.wasm.content.layer.v1+wasm",
            "application/vnd.wasm.content.layer.v1+wasm",
            "application/wasm",
        }
    ),
    file_name="plugin.wasm",
    platforms=(("wasi", "wasm"), ("wasip1", "wasm"), ("linux", "amd64")),
)


def shared_object(architecture: str) -> CodeForm:
    """Return the form of shared objects for Linux on an architecture, as OCI calls it (amd64, arm64).

    The layer's type is that of Apoxy's images.
    """
    return CodeForm(
        name="shared object",
        magic=b"\x7fELF",
        reason="NotSharedObject",
        layer_types=frozenset({"application/vnd.apoxy.dev.image.content.v1.tar+gzip"}),
        file_name="*.so",
        platforms=(("linux", architecture),),
    )


__all__ = ["WASM_MODULE", "CodeForm", "shared_object"]
