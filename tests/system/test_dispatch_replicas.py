"""Typed functions on two control planes that share a PostgreSQL: each answers, and a dead one's runs are taken over."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.testing.dispatch_client import DispatchClient
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.skerry_process import SkerryProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/skerry-controllers"
ECHO = "def handle(context, payload): print('hello'); return {'input': payload, 'trace': context['traceparent']}"
#: Writes down that it was begun, and ends when it may.
HELD = """
import os, time

def handle(context, payload):
    with open(payload["ledger"], "a") as ledger:
        ledger.write("begun\\n")
    while not os.path.exists(payload["gate"]):
        time.sleep(0.05)
    return "through"
"""
EVENT = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1"}
STRUCTURED = {"content-type": "application/cloudevents+json"}


@dataclass(frozen=True)
class Replicas:
    """Two replicas: the first executes runs, the second does not."""

    leader: SkerryProcess
    at_leader: DispatchClient
    at_other: DispatchClient


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, postgres: PostgresProcess
) -> Iterator[Replicas]:
    folder, database = tmp_path_factory.mktemp("replicas"), ("--database", postgres.create_schema())
    with ExitStack() as stack:

        def start(name: str) -> tuple[SkerryProcess, DispatchClient]:
            started = SkerryProcess.started(folder / name, *database, cache_dir=cache_dir, command="serve")
            replica = stack.enter_context(started)
            return replica, stack.enter_context(DispatchClient.of(replica))

        leader, at_leader = start("a")
        at_leader.until(LEASE, lambda lease: lease.get("spec", {}).get("holderIdentity"))
        shutil.copytree(folder / "a" / "pki", folder / "b" / "pki")
        shutil.copy(folder / "a" / "kubeconfig", folder / "b" / "kubeconfig")
        _, at_other = start("b")
        at_leader.create_function("by-clock", ECHO, schedules=[{"cron": "* * * * *", "input": 1}])
        at_leader.create_function("echo", ECHO)
        at_leader.create_function("held", HELD)
        yield Replicas(leader, at_leader, at_other)


def execute(dispatch: DispatchClient, function: str, payload: Any) -> httpx.Response:
    body = {"blocking": True, "input": payload}
    return dispatch.http.post("/v1/runs", params={"functionName": function}, json=body, timeout=90)


def test_a_blocking_run_is_answered_wherever_it_is_asked_for(replicas: Replicas) -> None:
    for dispatch in (replicas.at_leader, replicas.at_other):
        answer = execute(dispatch, "echo", {"n": None})
        assert answer.status_code == 200, answer.text
        run = answer.json()
        assert (run["status"], run["output"]["input"], run["attempts"]) == ("READY", {"n": None}, 1)
        assert run["output"]["trace"] == run["traceparent"]
        assert run["logs"]["stdout"] == ["hello"]
        assert {known["name"] for known in replicas.at_leader.runs("echo")} >= {run["name"]}


def test_who_is_to_blame_is_told_wherever_it_is_asked(replicas: Replicas) -> None:
    body, strict = {"blocking": True, "secrets": ["absent"]}, {"prefer": "status=strict"}
    for dispatch in (replicas.at_leader, replicas.at_other):
        answer = dispatch.http.post("/v1/runs", params={"functionName": "echo"}, json=body, headers=strict)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["type"] == "InputError"


def test_an_event_begins_its_runs_wherever_it_comes(replicas: Replicas) -> None:
    replicas.at_leader.post("/v1/event/subscriptions", 201, name="s", function="echo", eventType="t")
    answer = replicas.at_other.http.post("/v1/event", json=EVENT, headers=STRUCTURED)
    assert answer.status_code == 202, answer.text
    (name,) = answer.json()["runs"]
    run = replicas.at_other.until(f"/v1/runs/{name}", lambda found: found["status"] in {"READY", "ERROR"})
    assert run["status"] == "READY"
    assert replicas.at_leader.http.post("/v1/event", json=EVENT, headers=STRUCTURED).json()["runs"] == [name]


def test_a_run_whose_process_dies_is_taken_over_and_its_caller_at_the_other_is_answered(
    replicas: Replicas, tmp_path: Path
) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    ledger.touch()
    with ThreadPoolExecutor(1) as threads:
        caller = threads.submit(execute, replicas.at_other, "held", {"ledger": str(ledger), "gate": str(gate)})
        replicas.at_other.until("/v1/runs", lambda _: caller.done() or ledger.read_text(), functionName="held")
        replicas.leader.kill()
        gate.touch()
        answer = caller.result()
    assert answer.status_code == 200, answer.text
    run = answer.json()
    assert (run["status"], run["output"], run["attempts"]) == ("READY", "through", 2)


def test_a_schedule_fires_once_for_each_time_also_where_another_one_leads_now(replicas: Replicas) -> None:
    def times() -> list[str]:
        return [run["event"]["time"] for run in replicas.at_other.runs("by-clock")]

    replicas.at_other.until("/v1/runs", bool, functionName="by-clock")
    assert len(set(times())) == len(times())
