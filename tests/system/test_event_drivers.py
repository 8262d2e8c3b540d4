"""Event drivers: programs that post events, started and started again, and clocks."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.dispatch_client import DispatchClient
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

ECHO = "def handle(context, payload): return payload"
#: Posts one event at start, which tells what it was given, and then waits to be ended.
PROGRAM = """
import json, os, sys, time, urllib.error, urllib.request

def post(headers, body, method="POST"):
    asked = urllib.request.Request(os.environ["K_SINK"], body, headers, method=method)
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

told = {"arguments": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid(),
        "bad": post({"ce-specversion": "1.0"}, b"x"), "put": post({}, b"x", "PUT"), "get": post({}, None, "GET")}
event = {"specversion": "1.0", "type": "program.started", "source": "/program", "id": str(os.getpid()), "data": told}
status = post({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
print("posted", status, flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def dispatch(skerry: SkerryProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DispatchClient]:
    program = tmp_path_factory.mktemp("driver") / "program.py"
    program.write_text(PROGRAM)
    with DispatchClient.of(skerry) as client:
        clock = [{"key": "cron", "value": "* * * * *"}, {"key": "event-type", "value": "clock.tick"}]
        client.post("/v1/event/drivers", 201, name="clock", type="cron", config=clock)
        command = [sys.executable, str(program), "--from-type"]
        config = [{"key": "a", "value": "1"}, {"key": "b", "value": "1"}]
        client.post("/v1/event/drivertypes", 201, name="program", command=command, config=config)
        for name, event_type in (("started", "program.started"), ("ticked", "clock.tick")):
            client.create_function(name, ECHO)
            client.post("/v1/event/subscriptions", 201, name=name, function=name, eventType=event_type)
        yield client


def test_a_program_is_run_with_its_settings_and_secrets_and_again_when_it_ends(
    skerry: SkerryProcess, dispatch: DispatchClient
) -> None:
    dispatch.post("/v1/secret", 201, name="for-driver", secrets={"word": "mellon"})
    config = [{"key": "b", "value": "2"}]
    made = dispatch.post(
        "/v1/event/drivers", 201, name="my-driver", type="program", config=config, secrets=["for-driver"]
    )
    assert (made["status"], made["kind"]) == ("CREATING", "Driver")
    told = dispatch.finished("started")[0]["output"]
    assert told["arguments"] == ["--from-type", "--a=1", "--b=2"]
    assert (told["bad"], told["put"], told["get"]) == (400, 405, 200)
    environment = told["environment"]
    assert environment["word"] == "mellon"
    ours = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"}  # the rest of Skerry's own may be settings, and secrets
    assert environment.keys() - ours - {"LC_CTYPE"} == {"word", "K_SINK"}  # Python adds LC_CTYPE by itself
    dispatch.until("/v1/event/drivers/my-driver", lambda found: found["status"] == "READY")
    os.kill(told["pid"], signal.SIGKILL)
    again = dispatch.finished("started", 2)
    assert len({run["output"]["pid"] for run in again}) == 2
    restarted = dispatch.until("/v1/event/drivers/my-driver", lambda found: found["restarts"] == 1)
    assert restarted["reason"] == ["its program ended, and was started again 1 times: its log tells more"]
    log = skerry.data_dir / "logs" / "event-drivers" / "default.my-driver.log"
    until(lambda: "posted 201" in log.read_text(), "what it prints once its event was taken is in the log")
    assert dispatch.http.delete("/v1/event/drivers/my-driver").json()["status"] == "DELETING"
    dispatch.until("/v1/event/drivers/my-driver", lambda found: found.get("code") == 404)
    pids = [run["output"]["pid"] for run in again]
    dispatch.until("/v1/event/drivers", lambda _: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_driver_whose_program_does_not_stay_is_in_error_all_the_while(dispatch: DispatchClient) -> None:
    dispatch.post("/v1/event/drivertypes", 201, name="missing", command=["/nowhere/program"])
    dispatch.post("/v1/event/drivers", 201, name="gone", type="missing")
    seen = []

    def ended_often(found: dict[str, Any]) -> bool:
        seen.append((found["status"], found["restarts"]))
        return int(found["restarts"]) > 4

    dispatch.until("/v1/event/drivers/gone", ended_often)
    assert {status for status, restarts in seen if restarts} == {"ERROR"}
    dispatch.http.delete("/v1/event/drivers/gone")
    dispatch.http.delete("/v1/event/drivertypes/missing")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"name": "no-type", "type": "nowhere"}, "event driver type nowhere not found"),
        ({"name": "no-secret", "type": "program", "secrets": ["nowhere"]}, "secret nowhere not found"),
    ],
    ids=["type", "secret"],
)
def test_what_a_driver_lacks_is_its_reason(dispatch: DispatchClient, body: dict[str, Any], reason: str) -> None:
    dispatch.post("/v1/event/drivers", 201, **body)
    found = dispatch.until(f"/v1/event/drivers/{body['name']}", lambda found: found["status"] == "ERROR")
    assert found["reason"] == [reason]


def test_types_are_listed_with_the_one_that_is_built_in(dispatch: DispatchClient) -> None:
    found = {each["name"]: each["built-in"] for each in dispatch.http.get("/v1/event/drivertypes").json()}
    assert found == {"cron": True, "program": False}
    image = dispatch.http.post("/v1/event/drivertypes", json={"name": "x", "image": "vcenter"})
    assert (image.status_code, image.json()["message"][:6]) == (400, "image:")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"name": "Big", "type": "program"}, "small letters"),
        ({"name": "x", "type": "cron"}, "spec.config"),
        ({"name": "x", "type": "cron", "config": [{"key": "cron", "value": "every day"}]}, "five fields"),
        ({"name": "x", "type": "cron", "config": [{"key": "crn", "value": "* * * * *"}]}, "spec.config"),
    ],
    ids=["name", "no-cron", "bad-cron", "unknown-setting"],
)
def test_a_driver_that_is_none_is_refused(dispatch: DispatchClient, body: dict[str, Any], told: str) -> None:
    answer = dispatch.http.post("/v1/event/drivers", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["message"]
    assert dispatch.http.get(f"/v1/event/drivers/{body['name']}").json()["code"] == 404


@pytest.mark.usefixtures("dispatch")
def test_the_command_makes_types_and_drivers(skerry: SkerryProcess) -> None:
    made = skerry.skerry("event-driver-type", "create", "sleeper", "--set", "b=1", "--", "/bin/sleep", "3600")
    assert made == "Created event driver type: sleeper\n"
    assert '"/bin/sleep"' in skerry.skerry("event-driver-type", "get", "sleeper")
    assert '"built-in": true' in skerry.skerry("event-driver-type", "get", "cron")
    daily = ("--set", "cron=0 9 * * *", "--set", "time-zone=Europe/Berlin")
    assert skerry.skerry("event-driver", "create", "cron", "--name", "daily", *daily) == "Created event driver: daily\n"
    assert "daily" in skerry.skerry("event-driver", "list")
    assert "must be KEY=VALUE" in skerry.skerry("event-driver", "create", "cron", "--set", "cron", fails=True)
    assert "five fields" in skerry.skerry("event-driver", "create", "cron", "--set", "cron=often", fails=True)
    assert "Deleted event driver: daily" in skerry.skerry("event-driver", "delete", "daily")
    assert "Deleted event driver type: sleeper" in skerry.skerry("event-driver-type", "delete", "sleeper")


def test_a_clock_emits_an_event_for_each_time_that_it_is_due(dispatch: DispatchClient) -> None:
    runs = dispatch.finished("ticked")
    times = [run["output"]["time"] for run in runs if run["status"] == "READY"]
    assert len(set(times)) == len(times) > 0
    assert times[0].endswith(":00Z")
