"""Service classes and instances: user-provided ones, and those of a broker (a stand-in that speaks its API)."""

from collections.abc import Iterator
from typing import Any

import pytest

from skerry.testing.dispatch_client import DispatchClient
from skerry.testing.faas_engines import serving
from skerry.testing.service_broker import BARE, PASSWORD, SERVICE, SIZED, SMALL, USER, FakeServiceBroker
from skerry.testing.skerry_process import SkerryProcess

pytestmark = pytest.mark.system

CONTEXT = "def handle(context, payload): return context['serviceBindings']"
CLASS = """
apiVersion: dispatch.skerry.dev/v1
kind: ServiceClass
metadata: {name: mail, namespace: default}
spec: {description: "Our mail server.", parameters: {host: mail.example, port: 25}}
"""
BROKER = """
apiVersion: dispatch.skerry.dev/v1
kind: ServiceBroker
metadata: {name: NAME, namespace: default}
spec: {url: "URL", authSecret: broker-password}
"""


@pytest.fixture(scope="module")
def dispatch(skerry: SkerryProcess) -> Iterator[DispatchClient]:
    with DispatchClient.of(skerry) as client:
        skerry.apply(CLASS)
        client.create_function("bound", CONTEXT)
        client.post("/v1/secret", 201, name="broker-password", secrets={"username": USER, "password": PASSWORD})
        yield client


@pytest.fixture(scope="module")
def broker(skerry: SkerryProcess, dispatch: DispatchClient) -> Iterator[FakeServiceBroker]:
    fake = FakeServiceBroker(away=2)
    with serving(fake):
        skerry.apply(BROKER.replace("NAME", "fake").replace("URL", fake.url))
        dispatch.until("/v1/serviceclass/database", lambda found: found.get("status") == "READY")
        yield fake


def instance(dispatch: DispatchClient, name: str, service_class: str, **more: Any) -> dict[str, Any]:
    created = dispatch.post("/v1/serviceinstance", 201, name=name, serviceClass=service_class, **more)
    assert created["status"] == "INITIALIZED"
    ended = dispatch.until(f"/v1/serviceinstance/{name}", lambda found: found["status"] in {"READY", "ERROR"})
    return dict(ended)


def bindings(dispatch: DispatchClient, *services: str) -> Any:
    body = {"blocking": True, "services": list(services)}
    return dispatch.http.post("/v1/runs", params={"functionName": "bound"}, json=body).json()


def gone(dispatch: DispatchClient, name: str) -> None:
    assert dispatch.http.delete(f"/v1/serviceinstance/{name}").json()["status"] == "DELETING"
    dispatch.until(f"/v1/serviceinstance/{name}", lambda found: found.get("code") == 404)


def test_a_user_provided_service_reaches_the_function(dispatch: DispatchClient) -> None:
    dispatch.post("/v1/secret", 201, name="mail-password", secrets={"password": "mellon"})
    more = {"parameters": {"user": "jon"}, "secretParameters": ["mail-password"]}
    made = instance(dispatch, "our-mail", "mail", **more)
    assert (made["status"], made["binding"]["status"], made["servicePlan"]) == ("READY", "READY", "default")
    run = bindings(dispatch, "our-mail")
    expected = {"our-mail": {"host": "mail.example", "port": "25", "user": "jon", "password": "mellon"}}
    assert (run["output"], run["services"]) == (expected, ["our-mail"])
    assert "password" not in str(dispatch.http.get("/v1/serviceinstance/our-mail").json()["parameters"])
    secret = made["binding"]["bindingSecret"]
    assert secret == made["id"]
    gone(dispatch, "our-mail")
    dispatch.until(f"/v1/secret/{secret}", lambda found: found.get("code") == 404)
    assert "service instance our-mail not found" in bindings(dispatch, "our-mail")["error"]["message"]


def test_a_secret_that_is_missing_is_told_of_and_waited_for(dispatch: DispatchClient) -> None:
    body = {"name": "waiting", "serviceClass": "mail", "secretParameters": ["not-yet"]}
    dispatch.post("/v1/serviceinstance", 201, **body)
    dispatch.until("/v1/serviceinstance/waiting", lambda found: found["reason"] == ["secret not-yet not found"])
    refused = bindings(dispatch, "waiting")
    assert refused["error"]["type"] == "InputError"
    assert "failed to get service bindings current status INITIALIZED" in refused["error"]["message"]
    dispatch.post("/v1/secret", 201, name="not-yet", secrets={"a": "b"})
    ready = dispatch.until("/v1/serviceinstance/waiting", lambda found: found["status"] == "READY")
    assert ready["reason"] is None


def test_a_brokers_catalogue_is_classes_and_what_is_wrong_in_it_is_told(
    skerry: SkerryProcess, dispatch: DispatchClient, broker: FakeServiceBroker
) -> None:
    found = dispatch.http.get("/v1/serviceclass", params={"broker": "fake"}).json()
    assert [each["name"] for each in found] == ["database"]
    plans = {plan["name"]: plan for plan in found[0]["plans"]}
    assert (plans["small"]["bindable"], plans["bare"]["bindable"]) == (True, False)
    assert plans["small"]["schema"] == {"create": SIZED}
    reason = ("get", "servicebrokers.dispatch.skerry.dev", "fake", "-o", "jsonpath={.status.reason}")
    ready = ("wait", "--for=jsonpath={.status.state}=READY", "--timeout=80s")
    skerry.kubectl(*ready, "servicebrokers.dispatch.skerry.dev/fake")
    assert "'not a name'" in skerry.kubectl(*reason)
    assert broker.away == 0


@pytest.mark.parametrize("slow", [False, True], ids=["at-once", "in-the-background"])
def test_a_brokers_service_is_provisioned_bound_used_and_let_go(
    dispatch: DispatchClient, broker: FakeServiceBroker, *, slow: bool
) -> None:
    broker.slow = slow
    name = "slow-database" if slow else "database"
    more = {"servicePlan": "small", "parameters": {"size": 1}, "binding": {"parameters": {"role": "reader"}}}
    made = instance(dispatch, name, "database", **more)
    assert made["binding"]["status"] == "READY", made
    sent = broker.instances[made["id"]]
    assert (sent["service_id"], sent["plan_id"], sent["parameters"]) == (SERVICE, SMALL, {"size": 1})
    ((binding, bound),) = broker.bindings.items()
    assert bound["parameters"] == {"role": "reader"}
    assert bindings(dispatch, name)["output"] == {name: {"uri": f"db://{binding}", "port": "5432"}}
    gone(dispatch, name)
    assert (broker.instances, broker.bindings) == ({}, {})


def test_a_plan_without_bindings_is_ready_without_one(dispatch: DispatchClient, broker: FakeServiceBroker) -> None:
    broker.slow = False
    made = instance(dispatch, "bare", "database", servicePlan="bare")
    assert (made["status"], made["binding"]) == ("READY", None)
    assert broker.instances[made["id"]]["plan_id"] == BARE
    gone(dispatch, "bare")


def test_what_a_broker_refuses_is_the_instances_reason_and_it_can_be_deleted(
    dispatch: DispatchClient, broker: FakeServiceBroker
) -> None:
    broker.refuses = "no room for tables"
    made = instance(dispatch, "refused", "database", servicePlan="small")
    broker.refuses = ""
    assert (made["status"], made["reason"]) == ("ERROR", ["the broker answered 400: no room for tables"])
    assert "current status ERROR" in bindings(dispatch, "refused")["error"]["message"]
    gone(dispatch, "refused")


def test_parameters_against_the_schema_of_their_plan_reach_no_broker(
    dispatch: DispatchClient, broker: FakeServiceBroker
) -> None:
    told = 'parameters of service plan small: validation failure list:\nsize in body must be of type integer: "string"'
    body = {"serviceClass": "database", "servicePlan": "small"}
    answer = dispatch.post("/v1/serviceinstance", 400, name="unfit", parameters={"size": "large"}, **body)
    assert answer["message"] == told
    assert dispatch.http.get("/v1/serviceinstance/unfit").status_code == 404
    dispatch.post("/v1/secret", 201, name="sizes", secrets={"size": "large"})
    made = instance(dispatch, "unfit", "database", servicePlan="small", secretParameters=["sizes"])
    assert (made["status"], made["reason"]) == ("ERROR", [told])
    assert made["id"] not in broker.instances
    gone(dispatch, "unfit")


@pytest.mark.usefixtures("dispatch")
def test_the_command_makes_an_instance(skerry: SkerryProcess) -> None:
    assert "mail" in skerry.skerry("service", "classes")
    made = skerry.skerry("service", "create", "by-command", "mail", "--parameters", '{"user": "jon"}')
    assert made == "Created service instance: by-command\n"
    assert "READY" in skerry.skerry("service", "list")
    assert "must be a JSON object" in skerry.skerry("service", "create", "x", "mail", "-p", "[]", fails=True)
    assert "Deleted service instance: by-command" in skerry.skerry("service", "delete", "by-command")


def test_an_instance_that_is_none_is_refused(dispatch: DispatchClient) -> None:
    def said(**body: Any) -> tuple[int, str]:
        answer = dispatch.http.post("/v1/serviceinstance", json=body)
        return answer.status_code, answer.json()["message"]

    assert said(name="x") == (422, "serviceClass in body is required")
    assert said(name="x", serviceClass="none") == (400, "Service class none does not exist")
    plan = said(name="x", serviceClass="mail", servicePlan="gold")
    assert plan == (400, "Service plan gold does not exist in service class mail")
    assert dispatch.http.get("/v1/serviceinstance/x").json()["message"] == "service instance x not found"
    assert dispatch.http.get("/v1/serviceclass/x").json()["message"] == "service class x not found"
