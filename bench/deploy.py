"""From `kubectl apply` of a new function to its first answer through the gateway.

.venv/bin/python bench/deploy.py
"""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from rig import skerry, until

from skerry.testing.manifests import answering, edge_function
from skerry.testing.skerry_process import SkerryProcess

TURNS = 10
#: Between two looks: asking without a pause would take the cores from what is measured.
ASK_SECONDS = 0.001


def first_answer_seconds(running: SkerryProcess, name: str) -> tuple[float, float]:
    """Return seconds from the start of `kubectl apply`, and from its end, to the first 200."""
    started = time.perf_counter()
    running.kubectl("apply", "-f", "-", stdin=edge_function(name, answering(name)))
    applied = time.perf_counter()
    url = f"http://{name}.functions.localhost"
    until(lambda: running.get(url).is_success, f"{name} answers", pause_seconds=ASK_SECONDS)
    ended = time.perf_counter()
    return ended - started, ended - applied


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, skerry(Path(directory) / "data") as running:
        first_answer_seconds(running, "warm-up")
        pairs = [first_answer_seconds(running, f"turn-{turn}") for turn in range(TURNS)]
    whole, after = zip(*pairs, strict=True)
    kubectl = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=True).stdout
    print(f"{kubectl.splitlines()[0]}; {TURNS} new functions, one after the other")
    for label, seconds in (("from the start of kubectl apply", whole), ("from the end of kubectl apply", after)):
        print(f"{label:<36} median {statistics.median(seconds) * 1e3:6.0f} ms   most {max(seconds) * 1e3:6.0f} ms")


if __name__ == "__main__":
    main()
