"""What a process of Skerry tells the service manager, and when."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

#: Runs nothing, and prints what its children would find.
NOTHING = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from pathlib import Path
from skerry.main.configuration import Settings
from skerry.main.process import Running, run_process

@asynccontextmanager
async def nothing(settings, data_dir):
    yield Running("https://localhost", "", data_dir.kubeconfig)

async def when_ready(running):
    print(os.environ.get("NOTIFY_SOCKET"), flush=True)

asyncio.run(run_process(Settings(data_dir=Path(sys.argv[1])), nothing, when_ready))
"""


async def test_the_service_manager_is_told_of_readiness_and_of_the_end_by_us_alone(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", NOTHING, str(tmp_path / "data")),
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=asyncio.subprocess.PIPE,
        )
        assert await asyncio.to_thread(manager.recv, 100) == b"READY=1"
        assert process.stdout is not None
        assert await process.stdout.readline() == b"None\n"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(manager.recv, 100) == b"STOPPING=1"
        assert await process.wait() == 0
