"""How long `skerry dev` takes from a save to the new answer.

    python bench/develop.py [--saves 50]

Starts it on what `skerry init` writes, saves a file again and again, and asks until the answer is the new one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rig import CACHE, process, until

from skerry.cli.starting import write_template

PAUSE_SECONDS = 0.002


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--saves", type=int, default=50)
    saves = parser.parse_args().saves
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "hello"
        write_template("ts", folder)
        command = [sys.executable, "-m", "skerry", "dev", str(folder), "--address", "127.0.0.1:0"]
        environment = {**os.environ, "SKERRY_CACHE_DIR": str(CACHE.parent), "SKERRY_DATA_DIR": str(Path(name) / "data")}
        started = time.perf_counter()
        with process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as running:
            assert running.stdout is not None
            said = running.stdout.readline().decode()
            assert "ready: " in said, said
            url = said.partition("ready: ")[2].split()[0]
            print(f"start to ready   {time.perf_counter() - started:.2f} s")
            with httpx.Client(base_url=url, trust_env=False) as http:
                times = [save(folder / "src" / "index.ts", http, number) for number in range(saves)]
    print(f"save to answer   p50 {statistics.median(times):.0f} ms   most {max(times):.0f} ms")


def save(path: Path, http: httpx.Client, number: int) -> float:
    """Save a new source, and return how many milliseconds later it answers."""
    path.write_text(f'export default {{ fetch: (): Response => new Response("save {number}") }};\n')
    started = time.perf_counter()
    until(lambda: http.get("/").text == f"save {number}", "what was saved answers", pause_seconds=PAUSE_SECONDS)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
