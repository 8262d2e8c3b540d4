"""Where functions run: what is set is checked at start, and each driver gets what it needs."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.client.client import Client
from skerry.functions import Exec, Function, FunctionExecution, NoopDriver, Runner
from skerry.functions.local.driver import LocalDriver
from skerry.functions.local.images import LocalImages
from skerry.kit.errors import ConfigurationError
from skerry.main.configuration import Settings, load_settings
from skerry.main.faas import Deploying, deploying
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.faas_engines import Knative, OpenFaas, OpenWhisk, serving

FUNCTION = Function("hello", faas_id="f1")
EXEC = Exec(b"", image="registry.example/hello:1")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with memory_control_plane() as client:
        yield client


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Deploying]:
    async with LocalDriver(folder / "deployments") as driver:
        yield driver, LocalImages(folder / "images")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"FAAS": "kubeless"},
            "faas: must be one of local, docker, openfaas, knative, openwhisk, noop, not 'kubeless'",
        ),
        ({"FAAS": "openfaas"}, "faas_url: must be set where faas is openfaas"),
        ({"FAAS_URL": "gateway:8080"}, "http"),
        (
            {"FAAS_DOCKER_HOST": "tcp://10.0.0.1:2375"},
            "faas_docker_host: must be unix:///PATH, not 'tcp://10.0.0.1:2375'",
        ),
        ({"FAAS_REGISTRY": "https://r.example"}, "faas_registry: must be HOST"),
        ({"FAAS_MEMORY_BYTES_MAX": "1"}, "faas_memory_bytes_max: must be at least 33554432, not 1"),
        ({"FAAS_CPUS_MAX": "0"}, "faas_cpus_max: must be above 0, not 0.0"),
        ({"FAAS_WARM_PROCESSES_MAX": "-1"}, "faas_warm_processes_max: must not be negative, not -1"),
        ({"FAAS_CREDENTIALS_FILE": "/none"}, "faas_credentials_file: there is no file /none"),
        ({"FAAS_CA_FILE": "/none"}, "faas_ca_file: there is no file /none"),
    ],
    ids=["driver", "no-url", "url", "host", "registry", "memory", "cpus", "warm", "credentials", "authorities"],
)
def test_what_is_set_wrongly_is_told_at_start_with_its_field(environment: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, {f"SKERRY_{name}": value for name, value in environment.items()})
    assert told in caught.value.public


@pytest.mark.parametrize(
    ("content", "told"), [("", "must hold one line"), ("a:b\nc", "one line"), ("token", "NAME:PASSWORD for openfaas")]
)
def test_credentials_of_another_form_are_refused_and_never_quoted(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "credentials").write_text(content)
    flags = {"faas": "openfaas", "faas_url": "http://g", "faas_credentials_file": str(tmp_path / "credentials")}
    with pytest.raises(ConfigurationError, match=told) as caught:
        load_settings(flags, {})
    assert "token" not in caught.value.public


async def test_functions_run_on_this_machine_unless_something_else_is_set(client: Client, tmp_path: Path) -> None:
    async with deploying(Settings(), client, local(tmp_path)) as (driver, store):
        assert isinstance(driver, LocalDriver)
        assert store.built_in("python3") == "python3"
    async with deploying(Settings(faas="noop"), client, local(tmp_path)) as (driver, _):
        assert isinstance(driver, NoopDriver)


async def test_an_engine_of_containers_that_does_not_answer_is_told_at_start(client: Client, tmp_path: Path) -> None:
    settings = Settings(faas="docker", faas_docker_host=f"unix://{tmp_path}/none.sock")
    with pytest.raises(
        ConfigurationError, match="faas_docker_host: no container engine answers at unix://.*start Docker"
    ):
        async with deploying(settings, client, local(tmp_path)):
            pass


async def test_openwhisk_is_given_its_credentials_and_images_that_are_built_elsewhere(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("user:key\n")
    with serving(OpenWhisk()) as engine:
        settings = Settings(faas="openwhisk", faas_url=engine.url, faas_credentials_file=tmp_path / "credentials")
        async with deploying(settings, client, local(tmp_path)) as (driver, store):
            assert store.built_in("registry.example/hello:1") == "registry.example/hello:1"
            assert store.built_in("python3") is None
            await driver.create(FUNCTION, EXEC)
            assert engine.deployed["f1"]["exec"]["image"] == "registry.example/hello:1"
            assert await driver.deployments() == {"f1"}


async def test_another_skerry_on_the_same_engine_sees_none_of_our_functions(tmp_path: Path) -> None:
    with serving(OpenFaas()) as engine:
        settings = Settings(faas="openfaas", faas_url=engine.url)
        async with memory_control_plane() as ours, memory_control_plane() as theirs:
            async with deploying(settings, ours, local(tmp_path)) as (driver, _):
                await driver.create(FUNCTION, EXEC)
            async with deploying(settings, theirs, local(tmp_path)) as (driver, _):
                assert await driver.deployments() == set()


async def test_knative_is_given_its_token(client: Client, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    seen: list[str | None] = []

    class Api(Knative):
        def answer(self, method: str, path: str, headers: dict[str, str], body: object) -> tuple[int, object]:
            seen.append(headers.get("authorization"))
            return super().answer(method, path, headers, body)

    with serving(Api()) as engine:
        settings = Settings(faas="knative", faas_url=engine.url, faas_credentials_file=tmp_path / "token")
        async with deploying(settings, client, local(tmp_path)) as (driver, _):
            await driver.create(FUNCTION, EXEC)
    assert set(seen) == {"Bearer secret"}


async def test_a_function_that_is_called_by_many_and_slow_keeps_no_other_waiting(
    client: Client, tmp_path: Path
) -> None:
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def answer(message: dict[str, Any]) -> tuple[int, Any]:
        if message["payload"] == "slow":
            begun.release()
            go_on.wait()
        return 200, {"context": {"error": None}, "payload": message["payload"]}

    def call(payload: str) -> asyncio.Task[Any]:
        return asyncio.ensure_future(Runner(driver).run(FunctionExecution(faas_id="f1"), payload))

    with serving(OpenFaas(answer)) as engine:
        settings = Settings(faas="openfaas", faas_url=engine.url)
        async with deploying(settings, client, local(tmp_path)) as (driver, _), asyncio.timeout(60):
            await driver.create(FUNCTION, EXEC)
            slow = [call("slow") for _ in range(110)]
            try:
                assert await call("quick") == "quick"
                for _ in slow:
                    await asyncio.to_thread(begun.acquire)
            finally:
                go_on.set()
                await asyncio.wait(slow)
