"""Shared objects for tests: built by gcc from the example of a native filter, or written with nothing in them."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path("examples") / "native-filter" / "add_header.c"
_BUILD_SECONDS_MAX = 60.0


def built_native(repository: Path, to: Path, *arguments: str) -> Path:
    """Build the example as `to`; skips the test where there is no gcc.

    Args:
        repository: its root.
        to: the file to write.
        arguments: more for gcc: `-DABI_VERSION="v9.0.0"`, `-Dname=other` to rename a function, or further sources.
    """
    beside = Path(sys.executable).with_name("gcc")  # where `make setup-dev` puts it
    compiler = str(beside) if beside.exists() else shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing, which builds native filters: install gcc and libc6-dev, or run `make setup-dev`")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(to), str(repository / _SOURCE), *arguments]
    subprocess.run(command, check=True, timeout=_BUILD_SECONDS_MAX)
    return to


def elf_file(*exports: str, machine: int = 62, kind: int = 3) -> bytes:
    """Write an ELF file of 64 bit that defines names, and has no code.

    Args:
        exports: the names.
        machine: ELF's number of the machine; 62 is x86-64.
        kind: ELF's number of the kind of file; 3 is a shared object.
    """
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in exports)
    symbols, at = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0), 1
    for name in exports:
        symbols += struct.pack("<IBBHQQ", at, 0x12, 0, 1, 0, 0)
        at += len(name) + 1
    header_bytes, section_bytes = 64, 64
    sections = b"".join(
        struct.pack("<IIQQQQIIQQ", 0, section_kind, 0, 0, offset, size, link, 0, 0, 0)
        for section_kind, offset, size, link in (
            (0, 0, 0, 0),
            (11, header_bytes, len(symbols), 2),
            (3, header_bytes + len(symbols), len(strings), 0),
        )
    )
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
        *(kind, machine, 1, 0, 0, header_bytes + len(symbols) + len(strings), 0),
        *(header_bytes, 0, 0, section_bytes, len(sections) // section_bytes, 0),
    )
    return header + symbols + strings + sections
