"""What a hostile function costs its neighbour: the neighbour's answers and latency alone, and beside each of them.

    .venv/bin/python bench/hostile.py [--seconds 2] [--workers 1] [NAME...]

A whole Skerry with real Envoy and engine workers; each hostile function is asked by 8 clients at once while another
function is asked by one, one request after the other. Every answer of the neighbour must be right. Eight clients are a
load by themselves: the ratio is to the median beside a harmless function that is asked as much.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import httpx
from rig import skerry

from skerry.testing.hostile_functions import ALL, hostile_function
from skerry.testing.manifests import edge_function
from skerry.testing.skerry_process import SkerryProcess

CLIENTS = 8
NEIGHBOUR = "export default { fetch: () => new Response('still here') };"


class Client:
    """Asks one function over one kept connection."""

    def __init__(self, gateway: str, name: str) -> None:
        self._http = httpx.Client(base_url=gateway, trust_env=False, timeout=30)
        self._headers = {"host": f"{name}.functions.localhost"}

    def ask(self) -> httpx.Response:
        return self._http.get("/", headers=self._headers)


def latencies(client: Client, seconds: float) -> list[float]:
    """Ask the neighbour again and again; return the times in milliseconds."""
    taken = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        answer = client.ask()
        taken.append((time.perf_counter() - begun) * 1e3)
        assert (answer.status_code, answer.text) == (200, "still here"), (answer.status_code, answer.text)
    return taken


def attack(gateway: str, name: str, seconds: float) -> Counter[str]:
    """Ask a hostile function by many clients; return what they were told. Runs in a process of its own."""
    told: Counter[str] = Counter()
    until = time.monotonic() + seconds

    def ask_again() -> None:
        client = Client(gateway, name)
        while time.monotonic() < until:
            try:
                answer = client.ask()
            except httpx.HTTPError as error:
                told[type(error).__name__] += 1
                continue
            kind = "ok" if answer.is_success else str(answer.status_code)
            told[answer.headers.get("x-skerry-error", kind)] += 1
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                time.sleep(0.05)

    threads = [threading.Thread(target=ask_again) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def beside(
    attackers: ProcessPoolExecutor, gateway: str, hostile: str, seconds: float
) -> tuple[list[float], Counter[str]]:
    """Return the neighbour's latencies while a hostile function is being asked, and what its clients were told."""
    attacking = attackers.submit(attack, gateway, hostile, seconds + 0.5)
    time.sleep(0.3)
    return latencies(Client(gateway, "neighbour"), seconds), attacking.result()


def rss_mib(running: SkerryProcess) -> int:
    """Return the resident memory of all engine workers."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"skerry.main.worker" in (path / "cmdline").read_bytes()
                and str(running.data_dir).encode() in (path / "cmdline").read_bytes()
            ):
                total += int((path / "statm").read_text().split()[1]) * 4096
        except OSError:
            continue
    return total >> 20


def print_row(name: str, taken: list[float], rss: int, base50: float | None, told: object = "") -> float:
    """Print the neighbour's latencies; return their median."""
    p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
    ratio = f"{p50 / base50:.1f}" if base50 else ""
    print(f"{name:28}{p50:8.2f}{p99:8.2f}{ratio:>13}{len(taken):9}{rss:9}  {told}", flush=True)
    return p50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--workers", default="1")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ALL)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ALL):
        parser.error(f"there are no hostile functions {', '.join(sorted(unknown))}")
    chosen = {name.lower(): (name, told) for name, told in ALL.items() if name in (options.names or ALL)}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        flags = ("--workers", options.workers)
        running = stack.enter_context(skerry(directory / "data", *flags))
        manifests = [edge_function(name, NEIGHBOUR) for name in ("neighbour", "harmless")]
        manifests += [hostile_function(function, which) for function, (which, _) in chosen.items()]
        running.kubectl("apply", "-f", "-", stdin="\n".join(manifests))
        names = [f"edgefunction/{name}" for name in ("neighbour", "harmless", *chosen)]
        running.kubectl("wait", "--for=condition=Ready", *names, "--timeout=60s")
        attackers = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        alone = latencies(Client(running.http, "neighbour"), options.seconds)
        print(
            f"{'beside':28}{'p50 ms':>8}{'p99 ms':>8}{'of harmless':>13}{'answers':>9}{'RSS MiB':>9}  clients were told"
        )
        print_row("nothing", alone, rss_mib(running), None)
        harmless, told = beside(attackers, running.http, "harmless", options.seconds)
        base = print_row("a harmless function", harmless, rss_mib(running), None, dict(told))
        for function, (which, expected) in chosen.items():
            taken, told = beside(attackers, running.http, function, options.seconds)
            odd = "" if set(told) <= {*expected, "concurrency", "lost"} else "  UNEXPECTED"
            print_row(which, taken, rss_mib(running), base, f"{dict(told)}{odd}")


if __name__ == "__main__":
    main()
