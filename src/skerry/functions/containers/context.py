"""What an engine builds images of: a folder with a Dockerfile, as a tar.

Source: Dispatch's templates of functions and images, folders within base images.
"""

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

from skerry.functions.errors import FunctionError
from skerry.functions.local.node import NodeRuntime
from skerry.functions.local.python import PythonRuntime
from skerry.functions.local.source import write_source
from skerry.kit.tar import tarfile


def function_context(source: bytes, handler: str, template: bytes) -> bytes:
    """Make the context of a function's image: its source, and over it the template, which wins where both have a file.

    Args:
        source: an archive, or the text of one file.
        handler: names that file: `hello.js` for JavaScript, else as Python has it.
        template: a tar with one folder, the template.

    Raises:
        FunctionError: the source can't be unpacked; the template can't be.
    """
    runtime = NodeRuntime() if handler.endswith((".js", ".cjs", ".mjs")) else PythonRuntime()
    with tempfile.TemporaryDirectory(prefix="skerry-context-") as name:
        folder = Path(name)
        write_source(source, folder, runtime.file_name(handler))
        _lay_over(folder, template)
        return _packed(folder)


def image_context(files: Mapping[str, str], template: bytes) -> bytes:
    """Make the context of an image: the template, and files with the packages that it is to have.

    Raises:
        FunctionError: the template can't be unpacked.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-context-") as name:
        folder = Path(name)
        _lay_over(folder, template)
        for file_name, text in files.items():
            (folder / file_name).write_text(text)
        return _packed(folder)


def _lay_over(folder: Path, template: bytes) -> None:
    """Unpack a tar's one folder into another."""
    try:
        with tarfile.open(fileobj=io.BytesIO(template), mode="r:") as archive:
            for member in archive:
                name = member.name.strip("/").partition("/")[2]
                if name:
                    archive.extract(member.replace(name=name), folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise FunctionError(f"the base image's template can't be unpacked: {error}") from error


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for entry in sorted(folder.iterdir()):
            archive.add(entry, entry.name, filter=_anybodys)
    return content.getvalue()


def _anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Make a file root's, and readable for whoever the container runs as."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode |= 0o555 if member.isdir() else 0o444
    return member
