"""Functions in processes of this machine, whose disk is full: that is the system's fault, so it is tried again."""

import io
import os
import sys
import tarfile
from collections.abc import Iterator

import pytest

from skerry.functions import Exec, Function, FunctionExecution, Runner, SystemError  # noqa: A004
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.installing import install_packages
from skerry.testing.small_disk import SmallDisk, SmallDiskMissingError, small_disk

HELLO = b"def handle(context, payload): return 'hello'\n"


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    try:
        with small_disk(4 * 1024 * 1024) as disk:
            yield disk
    except SmallDiskMissingError as error:
        pytest.skip(str(error))


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("hello.py")
        member.size = len(HELLO)
        tar.addfile(member, io.BytesIO(HELLO))
    return packed.getvalue()


@pytest.mark.parametrize("source", [HELLO, archive()], ids=["one file", "an archive"])
async def test_a_function_that_finds_no_room_is_deployed_once_there_is_some(disk: SmallDisk, source: bytes) -> None:
    function, exec_ = Function("f", faas_id="f"), Exec(source, "hello.handle" if source != HELLO else "", "python3")
    async with LocalDriver(disk.directory / "functions") as driver:
        disk.fill()
        with pytest.raises(SystemError, match=os.strerror(28)):
            await driver.create(function, exec_)
        disk.make_room()
        assert await driver.deployments() == set()
        await driver.create(function, exec_)
        assert await Runner(driver).run(FunctionExecution(faas_id="f"), None) == "hello"


@pytest.mark.parametrize(
    "said", ["OSError: [Errno 28] No space left on device", "npm error nospc ENOSPC: no space left on device, write"]
)
async def test_packages_that_find_no_room_are_the_systems_fault(disk: SmallDisk, said: str) -> None:
    installer = [sys.executable, "-c", f"import sys; sys.exit({said!r})"]
    with pytest.raises(SystemError, match="requirements.txt could not be installed"):
        await install_packages(installer, "requirements.txt", disk.directory, {})
