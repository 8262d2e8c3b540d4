"""Shared objects for tests, built by gcc from the example of a native filter."""

import shutil
import subprocess
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
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing, which builds native filters: apt-get install gcc libc6-dev")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(to), str(repository / _SOURCE), *arguments]
    subprocess.run(command, check=True, timeout=_BUILD_SECONDS_MAX)
    return to
