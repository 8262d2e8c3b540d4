"""The audit log's file, where the disk takes a part of what is written."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry.server.audit_file import LOST, AuditFile


@contextmanager
def files_of(bytes_max: int) -> Iterator[None]:
    """Have the system take no more of any file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_that_the_disk_takes_a_part_of_are_lost_whole_and_the_next_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path, file_bytes_max=1 << 30, files_max=2, queue_events_max=10)
    counted = LOST.labels("disk")._value
    lost = counted.get()
    first, second = (letter * (1 << 20) + b"\n" for letter in (b"1", b"2"))  # what the test prints is far less
    file.write([first])
    with files_of(len(first) + len(second) // 2):
        file.write([second, b"third\n"])
    file.write([b"fourth\n"])
    assert path.read_bytes() == first + b"fourth\n"
    assert counted.get() == lost + 2
