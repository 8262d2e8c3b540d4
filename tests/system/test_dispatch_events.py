"""Events, subscriptions, schedules and dead letters, end to end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skerry.testing.dispatch_client import DispatchClient
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

ECHO = "def handle(context, payload): return {'context': context, 'payload': payload}"
FAIL = "def handle(context, payload): raise RuntimeError('it broke')"
EVENT = {"specversion": "1.0", "type": "order.placed", "source": "/shop", "id": "1"}
STRUCTURED = {"content-type": "application/cloudevents+json"}


@pytest.fixture(scope="module")
def dispatch(skerry: SkerryProcess) -> Iterator[DispatchClient]:
    with DispatchClient.of(skerry) as client:
        client.create_function("by-clock", ECHO, schedules=[{"cron": "* * * * *", "input": {"n": 1}}])
        client.create_function("echo", ECHO)
        client.create_function("fails", FAIL, onFailure={"function": "echo"})
        yield client


def subscribe(dispatch: DispatchClient, name: str, function: str, **more: Any) -> dict[str, Any]:
    return dict(dispatch.post("/v1/event/subscriptions", 201, name=name, function=function, **more))


def emit(dispatch: DispatchClient, **changes: Any) -> list[str]:
    answer = dispatch.http.post("/v1/event/", json={**EVENT, **changes}, headers=STRUCTURED)
    assert answer.status_code == 202, answer.text
    return list(answer.json()["runs"])


def ended(dispatch: DispatchClient, run: str) -> dict[str, Any]:
    return dict(dispatch.until(f"/v1/runs/{run}", lambda found: found["status"] in {"READY", "ERROR"}))


def test_a_subscription_fires_once_an_event_with_its_secrets_and_the_event_without_data(
    dispatch: DispatchClient,
) -> None:
    dispatch.post("/v1/secret", 201, name="for-orders", secrets={"key": "mellon"})
    created = subscribe(dispatch, "orders", "echo", eventType="order.placed", secrets=["for-orders"])
    assert (created["status"], created["eventType"], created["kind"]) == ("READY", "order.placed", "Subscription")
    (run,) = emit(dispatch, data={"n": None})
    done = ended(dispatch, run)
    assert done["output"]["payload"] == {"n": None}
    assert done["output"]["context"]["secrets"] == {"key": "mellon"}
    assert done["output"]["context"]["event"] == EVENT
    assert emit(dispatch, data={"n": 2}) == [run]  # the same source and id: the same event
    assert emit(dispatch, type="order.placed.late") == []
    assert emit(dispatch, id="2") != [run]


def test_a_trace_goes_on_from_a_request_to_a_run_and_from_an_event_to_its_runs(dispatch: DispatchClient) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{trace}-{span}-01", "tracestate": "vendor=1"}
    query, asked = {"functionName": "echo"}, {"blocking": True, "input": 1}
    run = dispatch.http.post("/v1/runs", params=query, json=asked, headers=headers).json()
    told = run["output"]["context"]
    assert (told["traceparent"], told["tracestate"]) == (run["traceparent"], "vendor=1")
    assert run["traceparent"].split("-")[1] == trace
    assert run["traceparent"].split("-")[2] != span
    subscribe(dispatch, "traced", "echo", eventType="traced")
    (name,) = emit(dispatch, type="traced", traceparent=run["traceparent"])
    follower = ended(dispatch, name)["output"]["context"]["traceparent"].split("-")
    assert (follower[1], follower[2] != run["traceparent"].split("-")[2]) == (trace, True)


def test_runs_are_measured_by_function(dispatch: DispatchClient) -> None:
    dispatch.create_function("measured", ECHO)
    dispatch.post("/v1/runs?functionName=measured", 200, blocking=True)
    metrics = dispatch.http.get("/metrics").text
    for name, labels in (
        ("runs_total", ',error_type="",function="measured",namespace="default",status="READY"'),
        ("run_attempts_total", ',function="measured",namespace="default",result="success"'),
        ("queue_seconds_count", ',function="measured",namespace="default"'),
        ("run_seconds_count", ',function="measured",namespace="default"'),
    ):
        assert f"skerry_function_{name}{{{labels[1:]}}} 1.0\n" in metrics
    assert 'skerry_function_run_cold_starts_total{function="measured",namespace="default"}' in metrics


def test_dispatchs_own_emission_of_version_01_is_echoed_and_delivered(dispatch: DispatchClient) -> None:
    subscribe(dispatch, "ticks", "echo", eventType="ticker.tick")
    event = {
        "eventType": "ticker.tick",
        "cloudEventsVersion": "0.1",
        "source": "dispatch",
        "eventID": "t-1",
        "data": {"at": 1},
    }
    assert dispatch.post("/v1/event/", 200, event=event) == {"event": event}
    found = dispatch.until(
        "/v1/runs",
        lambda runs: any((r.get("event") or {}).get("eventID") == "t-1" and r["status"] == "READY" for r in runs),
        functionName="echo",
    )
    (run,) = (r for r in found if (r.get("event") or {}).get("eventID") == "t-1")
    assert run["input"] == {"at": 1}
    assert run["event"] == {name: value for name, value in event.items() if name != "data"}


def test_a_binary_event_is_matched_by_filters(dispatch: DispatchClient) -> None:
    filters = [{"prefix": {"type": "shop."}}, {"exact": {"region": "north"}}]
    subscribe(dispatch, "northern", "echo", filters=filters)
    headers = {"ce-specversion": "1.0", "ce-source": "/shop", "content-type": "text/plain"}

    def send(**attributes: str) -> list[str]:
        named = {f"ce-{name}": value for name, value in attributes.items()}
        answer = dispatch.http.post("/v1/event", content=b"hello", headers=headers | named)
        assert answer.status_code == 202, answer.text
        return list(answer.json()["runs"])

    assert send(id="1", type="shop.opened", region="south") == []
    (run,) = send(id="2", type="shop.opened", region="north")
    assert ended(dispatch, run)["output"]["payload"] == "hello"


def test_a_batch_is_delivered_event_by_event(dispatch: DispatchClient) -> None:
    subscribe(dispatch, "batched", "echo", eventType="batch.one")
    batch = [{**EVENT, "type": "batch.one", "id": str(n)} for n in range(3)]
    answer = dispatch.http.post("/v1/event", json=batch, headers={"content-type": "application/cloudevents-batch+json"})
    assert (answer.status_code, len(set(answer.json()["runs"]))) == (202, 3)


def test_a_run_that_fails_for_good_becomes_a_dead_letter_after_its_retries(dispatch: DispatchClient) -> None:
    subscribe(dispatch, "broken", "fails", eventType="order.lost", retries=2, backoff="0s")
    (name,) = emit(dispatch, type="order.lost", data={"n": 7})
    failed = dispatch.until(f"/v1/runs/{name}", lambda run: "deadLetter" in run)
    assert (failed["status"], failed["attempts"]) == ("ERROR", 3)
    letter = ended(dispatch, failed["deadLetter"]["run"])
    assert (letter["functionName"], letter["deadLetterOf"]) == ("echo", name)
    told = letter["output"]["payload"]
    assert (told["run"], told["input"], told["error"]["type"]) == (name, {"n": 7}, "FunctionError")
    assert letter["output"]["context"]["event"]["type"] == "dev.skerry.dispatch.run.failed"


def test_a_dead_letter_goes_to_a_subscription_or_says_why_it_can_not(dispatch: DispatchClient) -> None:
    subscribe(dispatch, "letters", "echo", eventType="nobody.sends.this")
    told = {"onFailure": {"subscription": "letters"}}
    run = dispatch.http.post("/v1/runs", params={"functionName": "fails"}, json=told).json()
    failed = dispatch.until(f"/v1/runs/{run['name']}", lambda found: "deadLetter" in found)
    assert ended(dispatch, failed["deadLetter"]["run"])["functionName"] == "echo"
    nobody = {"onFailure": {"subscription": "nobody"}}
    run = dispatch.http.post("/v1/runs", params={"functionName": "fails"}, json=nobody).json()
    failed = dispatch.until(f"/v1/runs/{run['name']}", lambda found: "deadLetter" in found)
    assert failed["deadLetter"] == {"reason": "subscription nobody not found"}


def test_an_event_for_a_function_that_is_not_there_is_a_run_that_says_so(dispatch: DispatchClient) -> None:
    subscribe(dispatch, "absent", "nowhere", eventType="for.nobody", onFailure={"function": "echo"})
    told = dispatch.until("/v1/event/subscriptions/absent", lambda found: found.get("reason"))
    assert (told["status"], told["reason"]) == ("READY", ["function nowhere not found"])
    (run,) = emit(dispatch, type="for.nobody")
    failed = dispatch.until(f"/v1/runs/{run}", lambda found: "deadLetter" in found)
    assert failed["reason"] == ["Error getting function from store: 'nowhere': not found"]
    assert ended(dispatch, failed["deadLetter"]["run"])["output"]["payload"]["run"] == run


def test_a_replacement_is_refused_for_no_write_that_came_between(dispatch: DispatchClient) -> None:
    subscribe(dispatch, "contended", "echo", eventType="contended.new")
    with ThreadPoolExecutor(3) as writers:
        answers = writers.map(
            lambda number: dispatch.http.put(
                "/v1/event/subscriptions/contended",
                json={"name": "contended", "function": "echo", "eventType": f"contended.n{number}"},
            ),
            range(30),
        )
        assert {answer.status_code for answer in answers} == {200}


def test_subscriptions_are_listed_replaced_and_ended(dispatch: DispatchClient, skerry: SkerryProcess) -> None:
    tags = [{"key": "Application", "value": "shop"}]
    subscribe(dispatch, "managed", "echo", eventType="a.b", tags=tags)
    listed = dispatch.http.get("/v1/event/subscriptions", params={"tags": "Application=shop"}).json()
    assert [each["name"] for each in listed] == ["managed"]
    path = "/v1/event/subscriptions/managed"
    replaced = dispatch.http.put(path, json={"name": "managed", "function": "echo", "eventType": "a.c"}).json()
    assert (replaced["eventType"], replaced["tags"]) == ("a.c", None)
    assert "a.c" in skerry.kubectl("get", "subscriptions.dispatch.skerry.dev", "managed")
    assert dispatch.http.delete(path).json()["status"] == "DELETING"
    assert dispatch.http.get(path).json() == {"code": 404, "message": "subscription managed not found"}
    assert emit(dispatch, type="a.c") == []


@pytest.mark.parametrize(
    ("headers", "body", "code", "told"),
    [
        (STRUCTURED, b"{", 400, "parsing body"),
        (STRUCTURED, b"", 400, "body in body is required"),
        (STRUCTURED, b'{"specversion": "1.0", "type": "t", "source": "/s"}', 400, "validating event: id must be given"),
        (STRUCTURED, b'{"specversion": "2.0", "type": "t", "source": "/s", "id": "1"}', 400, "specversion"),
        ({}, b'{"eventType": "t", "source": "/s"}', 400, "cloudEventsVersion must be given"),
        ({}, b'{"a": 1}', 400, "neither specversion nor cloudEventsVersion is given"),
        ({}, b"[1]", 400, "an event must be a JSON object"),
    ],
)
def test_what_is_no_event_is_refused(
    dispatch: DispatchClient, headers: dict[str, str], body: bytes, code: int, told: str
) -> None:
    answer = dispatch.http.post("/v1/event", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (code, code)
    assert told in answer.json()["message"]


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ({"name": "x", "eventType": "a"}, 602, "function in body is required"),
        ({"name": "x", "function": "f", "eventType": "a b"}, 605, "eventType in body should match"),
        ({"name": "x", "function": "f", "eventType": "a" * 129}, 603, "eventType in body should be at most 128"),
        ({"name": "x", "function": "f"}, 400, "give a type, or filters"),
        ({"name": "x", "function": "f", "filters": [{}]}, 400, "spec.filters[0]"),
        ({"name": "x", "function": "f", "eventType": "a", "onFailure": {}}, 400, "spec.onFailure"),
        ({"name": "x", "function": "f", "eventType": "a", "retries": 101}, 601, "retries in body"),
    ],
)
def test_a_subscription_that_is_none_is_refused(
    dispatch: DispatchClient, body: dict[str, Any], code: int, told: str
) -> None:
    answer = dispatch.http.post("/v1/event/subscriptions", json=body)
    assert answer.json()["code"] == code
    assert told in answer.json()["message"]
    assert dispatch.http.get("/v1/event/subscriptions/x").status_code == 404


def test_the_command_subscribes_and_emits(dispatch: DispatchClient, skerry: SkerryProcess) -> None:
    flags = ("--name", "by-command", "--prefix", "source=/shop/", "--on-failure", "echo", "--retries", "0")
    told = skerry.skerry("subscription", "create", "echo", "--event-type", "by.command", *flags)
    assert told == "Created subscription: by-command\n"
    assert "by.command" in skerry.skerry("subscription", "list")
    assert '"retries": 0' in skerry.skerry("subscription", "get", "by-command")
    sent = ("event", "emit", "by.command", "--source-id", "/shop/north", "--event-id", "7", "--data", '{"n": 1}')
    printed = skerry.skerry(*sent)
    assert "event emitted: 7" in printed
    assert skerry.skerry(*sent) == printed
    run = printed.splitlines()[1].removeprefix("run ")
    assert ended(dispatch, run)["output"]["payload"] == {"n": 1}
    assert "--data is no JSON" in skerry.skerry("event", "emit", "by.command", "--data", "{", fails=True)
    assert "ATTRIBUTE=VALUE" in skerry.skerry("subscription", "create", "echo", "--exact", "x", fails=True)
    assert "Deleted subscription: by-command" in skerry.skerry("subscription", "delete", "by-command")


def test_a_tag_filter_without_an_equals_sign_is_refused(dispatch: DispatchClient) -> None:
    answer = dispatch.http.get("/v1/event/subscriptions", params={"tags": "shop"})
    assert answer.json() == {"code": 400, "message": "error parsing tag 'shop': invalid format"}


def test_a_schedule_fires_once_for_each_time_that_it_is_due(dispatch: DispatchClient) -> None:
    runs = dispatch.finished("by-clock")
    assert runs[0]["output"]["payload"] == {"n": 1}
    times = [run["event"]["time"] for run in runs]
    assert len(set(times)) == len(times)
    assert all(time.endswith(":00Z") for time in times)
