"""What the tests of members share."""

import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.member_node import member_node


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Start a node on the test's own directory."""
    return partial(member_node, tmp_path)


@pytest.fixture
def program_archive() -> bytes:
    """A program as a configuration has it: a zip with its program.yml."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("program.yml", "entry: run.sh\n")
        script = zipfile.ZipInfo("run.sh")
        script.external_attr = 0o755 << 16
        archive.writestr(script, "#!/bin/sh\necho started with $1 > told\nexec sleep 1000\n")
    return file.getvalue()
