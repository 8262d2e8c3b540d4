"""Accepted runs survive a crash of the control plane: each comes to its end, and says how often it was begun."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

#: Writes down that it was begun, and ends when it may.
SOURCE = """
import os, time

def handle(context, payload):
    with open(payload["ledger"], "a") as ledger:
        ledger.write(f"{payload['number']}\\n")
    while not os.path.exists(payload["gate"]):
        time.sleep(0.05)
    return payload["number"]
"""
RUNNING, QUEUED = 20, 500


def client_of(skerry: SkerryProcess) -> httpx.Client:
    http = skerry.api_client()
    http.headers["x-dispatch-org"] = "default"
    return http


def test_after_kill_9_all_runs_end_and_none_is_begun_twice_unless_it_says_so(tmp_path: Path, cache_dir: Path) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    ledger.touch()

    def begun() -> list[int]:
        return [int(line) for line in ledger.read_text().split()]

    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        with client_of(skerry) as http:
            function = {"name": "held", "image": "python3", "code": SOURCE, "main": "handle", "concurrency": RUNNING}
            assert http.post("/v1/function", json=function).status_code == 201
            until(lambda: http.get("/v1/function/held").json()["status"] == "READY")
            names = []
            for number in range(RUNNING + QUEUED):
                payload = {"number": number, "ledger": str(ledger), "gate": str(gate)}
                answer = http.post("/v1/runs", params={"functionName": "held"}, json={"input": payload})
                assert answer.status_code == 202, answer.text
                names.append(answer.json()["name"])
            # Asked of the server, so that who waits leaves it room.
            until(lambda: http.get(f"/v1/runs/{names[-1]}").is_success and len(begun()) == RUNNING)
            states = Counter(run["status"] for run in http.get("/v1/runs").json())
            assert states == {"CREATING": RUNNING, "INITIALIZED": QUEUED}
        skerry.kill()
        gate.touch()
        skerry.start()
        with client_of(skerry) as http:
            for name in names:
                until(lambda: http.get(f"/v1/runs/{name}").json()["status"] in {"READY", "ERROR"})  # noqa: B023 - now
            runs = http.get("/v1/runs").json()
    assert [run["status"] for run in runs] == ["READY"] * (RUNNING + QUEUED)
    assert sorted(run["output"] for run in runs) == list(range(RUNNING + QUEUED))
    times = Counter(begun())
    told = {run["output"]: run["attempts"] for run in runs}
    assert all(1 <= times[number] <= attempts for number, attempts in told.items())
    assert sum(attempts > 1 for attempts in told.values()) == RUNNING
