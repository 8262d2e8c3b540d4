"""The drivers of engines that run elsewhere, against stand-ins that behave as the engines' APIs document."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from skerry.functions import (
    Exec,
    FaaSDriver,
    Function,
    FunctionError,
    FunctionExecution,
    InputError,
    InvocationError,
    NoDeployment,
    Runner,
    SystemError,  # noqa: A004
    logs_of,
)
from skerry.functions.images import BuiltImages
from skerry.functions.remote.knative import KnativeDriver, KnativeSettings
from skerry.functions.remote.openfaas import OpenFaasDriver, OpenFaasSettings
from skerry.functions.remote.openwhisk import OpenWhiskDriver, OpenWhiskSettings
from skerry.testing.faas_engines import FaasEngine, Knative, OpenFaas, OpenWhisk, serving

FUNCTION = Function("hello", faas_id="f1", timeout_seconds=5.0)
EXEC = Exec(b"", image="registry.example/hello:1", name="hello")
#: How long an answer may take on a busy machine.
SECONDS_MAX = 60.0
MakeDriver = Callable[[FaasEngine, httpx.AsyncClient], FaaSDriver]


def openfaas(engine: FaasEngine, client: httpx.AsyncClient) -> FaaSDriver:
    return OpenFaasDriver(OpenFaasSettings(engine.url, image_pull_secret="pull"), BuiltImages(), client)


def knative(engine: FaasEngine, client: httpx.AsyncClient) -> FaaSDriver:
    return KnativeDriver(KnativeSettings(engine.url, ingress=engine.url), BuiltImages(), client, client)


def openwhisk(engine: FaasEngine, client: httpx.AsyncClient) -> FaaSDriver:
    client.auth = httpx.BasicAuth("user", "key")
    return OpenWhiskDriver(OpenWhiskSettings(engine.url), BuiltImages(), client)


@pytest.fixture(
    params=[(OpenFaas, openfaas), (Knative, knative), (OpenWhisk, openwhisk)], ids=lambda pair: pair[0].__name__
)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[FaasEngine, MakeDriver]]:
    kind, make = request.param
    with serving(kind()) as engine:
        yield engine, make


@pytest.fixture
def engine(pair: tuple[FaasEngine, MakeDriver]) -> FaasEngine:
    return pair[0]


@pytest.fixture
async def driver(pair: tuple[FaasEngine, MakeDriver]) -> AsyncIterator[FaaSDriver]:
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as client:
        yield pair[1](pair[0], client)


def answering(context: Any, payload: Any = None, status: int = 200) -> Callable[[dict[str, Any]], tuple[int, Any]]:
    return lambda _: (status, {"context": context, "payload": payload})


async def test_a_function_is_deployed_called_and_removed(driver: FaaSDriver, engine: FaasEngine) -> None:
    await driver.create(FUNCTION, EXEC)
    assert "registry.example/hello:1" in str(engine.deployed)
    assert await driver.deployments() == {"f1"}
    execution = FunctionExecution({"event": {"eventType": "t"}}, faas_id="f1")
    output = await Runner(driver).run(execution, {"name": "Jon"})
    sent = {"event": {"eventType": "t"}, "secrets": {}, "serviceBindings": {}}
    assert output == {"context": sent, "payload": {"name": "Jon"}}
    assert logs_of(execution.context).stdout == ["called"]
    await driver.delete(FUNCTION)
    assert engine.deployed == {}
    assert await driver.deployments() == set()
    await driver.delete(FUNCTION)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "InputError", "message": "m", "stacktrace": ["s"]}, InputError),
        ({"type": "FunctionError", "message": "m"}, FunctionError),
        ({"type": "SystemError", "message": "m"}, SystemError),
        ({"message": "m"}, FunctionError),
    ],
)
async def test_an_error_in_the_answer_is_the_runs(
    driver: FaaSDriver, engine: FaasEngine, error: dict[str, Any], kind: type[InvocationError]
) -> None:
    await driver.create(FUNCTION, EXEC)
    engine.behaviour = answering({"error": error})
    with pytest.raises(InvocationError, match="m") as caught:
        await Runner(driver).run(FunctionExecution(faas_id="f1"), None)
    assert type(caught.value) is kind


@pytest.mark.parametrize("answer", [(500, "broken"), (200, "no JSON"), (200, ["no message"]), (404, "gone")])
async def test_an_answer_that_is_no_message_is_the_systems_error(
    driver: FaaSDriver, engine: FaasEngine, answer: tuple[int, Any]
) -> None:
    await driver.create(FUNCTION, EXEC)
    engine.behaviour = lambda _: answer
    with pytest.raises(SystemError):
        await Runner(driver).run(FunctionExecution(faas_id="f1"), None)


async def test_a_function_that_is_not_there_or_no_more_is_told_as_such(driver: FaaSDriver, engine: FaasEngine) -> None:
    with pytest.raises(NoDeployment, match="404"):
        await Runner(driver).run(FunctionExecution(faas_id="none"), None)
    await driver.create(FUNCTION, EXEC)
    await Runner(driver).run(FunctionExecution(faas_id="f1"), None)
    engine.deployed.clear()
    with pytest.raises(NoDeployment, match="404"):
        await Runner(driver).run(FunctionExecution(faas_id="f1"), None)


async def test_an_engine_that_is_away_is_the_systems_error(pair: tuple[FaasEngine, MakeDriver]) -> None:
    engine, make = pair
    engine.url = "http://127.0.0.1:9"
    async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as client:
        with pytest.raises(SystemError, match=r"127\.0\.0\.1:9"):
            await make(engine, client).create(FUNCTION, EXEC)


@pytest.mark.parametrize("answer", ["no JSON", {"items": [{"metadata": {}}]}, [{"labels": {}}], 1])
async def test_an_api_that_answers_something_else_is_the_systems_error_and_says_what(
    driver: FaaSDriver, engine: FaasEngine, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(engine, "answer", lambda *_: (200, answer))
    with pytest.raises(SystemError, match="the engine's answer is not what its API describes"):
        await driver.deployments()


async def test_openwhisk_that_gives_the_same_page_for_ever_is_asked_for_it_twice() -> None:
    page = [{"name": f"action-{number}", "annotations": None} for number in range(200)]
    with serving(OpenWhisk()) as engine:
        engine.answer = lambda *_: (200, page)  # type: ignore[method-assign]
        async with httpx.AsyncClient(trust_env=False) as client:
            assert await openwhisk(engine, client).deployments() == set()
        assert len(engine.requests) == 2


async def test_openwhisk_tells_what_an_action_failed_with() -> None:
    with serving(OpenWhisk()) as engine:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as client:
            driver = openwhisk(engine, client)
            await driver.create(FUNCTION, EXEC)
            assert engine.deployed["f1"]["limits"] == {"timeout": 5000}
            engine.behaviour = lambda _: (502, {"error": "the action did not initialize"})
            with pytest.raises(FunctionError, match="the action did not initialize"):
                await Runner(driver).run(FunctionExecution(faas_id="f1"), None)


async def test_openwhisk_refuses_who_has_no_key() -> None:
    with serving(OpenWhisk()) as engine:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as client:
            with pytest.raises(SystemError, match="401"):
                await OpenWhiskDriver(OpenWhiskSettings(engine.url), BuiltImages(), client).create(FUNCTION, EXEC)


async def test_knative_tells_why_a_revision_failed() -> None:
    with serving(Knative()) as engine:
        engine.failure = "the container exited with 1"  # type: ignore[attr-defined]
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as client:
            with pytest.raises(FunctionError, match="RevisionFailed: the container exited with 1"):
                await knative(engine, client).create(FUNCTION, EXEC)


async def test_openfaas_is_given_pull_secret_network_and_resources() -> None:
    with serving(OpenFaas()) as engine:
        settings = OpenFaasSettings(f"{engine.url}/", image_pull_secret="pull", limits={"memory": "64Mi"})
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as client:
            await OpenFaasDriver(settings, BuiltImages(), client).create(FUNCTION, EXEC)
        deployed = engine.deployed["of-f1"]
        assert (deployed["secrets"], deployed["network"]) == (["pull"], "func_functions")
        assert deployed["limits"] == {"memory": "64Mi"}
        assert engine.requests.count("GET /system/function/of-f1") == 2, "it was looked at until a replica was there"


@pytest.mark.parametrize("payload", [{1, 2}, 2**70, "\ud83d"], ids=["set", "number", "half a pair"])
async def test_a_message_that_is_no_json_is_not_sent(driver: FaaSDriver, payload: Any) -> None:
    await driver.create(FUNCTION, EXEC)
    with pytest.raises(SystemError, match="the message to the function is no JSON"):
        await Runner(driver).run(FunctionExecution(faas_id="f1"), payload)


@pytest.mark.parametrize(
    ("told", "lines"), [("one line", []), ([1, None, "x"], ["1", "None", "x"])], ids=["text", "values"]
)
async def test_lines_that_are_none_are_no_reason_for_a_run_to_fail(
    driver: FaaSDriver, engine: FaasEngine, told: Any, lines: list[str]
) -> None:
    await driver.create(FUNCTION, EXEC)
    engine.behaviour = answering({"logs": {"stdout": told}}, 7)
    execution = FunctionExecution(faas_id="f1")
    assert await Runner(driver).run(execution, None) == 7
    assert logs_of(execution.context).stdout == lines
