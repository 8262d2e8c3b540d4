"""Containers on a real podman, of functions (the driver `docker`, its builder, `skerry up --faas docker`) and of nodes.

Skipped, with the reason, where podman runs no containers.
"""

import asyncio
import datetime as dt
import io
import json
import socket
import tarfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.errors import APIError
from docker.models.containers import Container

from skerry.functions import (
    Exec,
    Function,
    FunctionError,
    FunctionExecution,
    InputError,
    InvocationError,
    Runner,
    SystemError,  # noqa: A004
    logs_of,
)
from skerry.functions.containers.driver import DockerDriver, DockerSettings
from skerry.functions.containers.engine import ContainerEngine, connected
from skerry.functions.containers.images import DockerImageBuilder, DockerImages, DockerImageSettings
from skerry.functions.errors import TIMED_OUT, BuildError
from skerry.functions.images import Recipe
from skerry.kit.clock import rfc3339_micro
from skerry.testing.agent_fleet import AgentFleet
from skerry.testing.member_node import FakeCloud, member_node, until
from skerry.testing.podman import (
    NETWORK,
    Podman,
    PodmanMissingError,
    build_node_base,
    build_python_base,
    serving_podman,
)
from skerry.testing.registry_process import PASSWORD, USERNAME, RegistryProcess
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until as until_it_holds

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

BASE = "localhost/python3-base:1"
STATE_SECONDS_MAX = 120.0
#: Times given to a run that never ends: more of it, where a busy machine has not come to its beginning.
DEADLINES_SECONDS = (1.0, 10.0, 40.0)
IMAGES = DockerImageSettings(owner="test")
SOURCE = b"""
import os, sys, time

def run(context, payload):
    return globals()[payload["do"]](context, payload.get("with"))

def echo(context, payload):
    return payload

def see(context, payload):
    return context

def refuse(context, payload):
    raise ValueError("no such person")

def fail(context, payload):
    raise RuntimeError("it broke")

def die(context, payload):
    os._exit(7)

def slow(context, payload):
    print("begun", flush=True)
    time.sleep(payload)

def show(context, payload):
    print("out", payload)
    print("err", payload, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def podman(repository: Path) -> Iterator[Podman]:
    try:
        with serving_podman(repository / ".cache" / "python-rootfs") as podman:
            build_python_base(podman, BASE)
            yield podman
    except PodmanMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
async def engine(podman: Podman) -> AsyncIterator[ContainerEngine]:
    async with connected(podman.host) as engine:
        yield engine


@pytest.fixture
async def driver(engine: ContainerEngine) -> AsyncIterator[DockerDriver]:
    settings = DockerSettings(owner="test", network=NETWORK)
    async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
        yield DockerDriver(settings, DockerImageBuilder(IMAGES, engine), engine, client)


async def deploy(
    driver: DockerDriver, handler: str, source: bytes = SOURCE, image: str = BASE, name: str = "f"
) -> Function:
    function = Function(name, id=name, faas_id=name)
    await driver.create(function, Exec(source, handler, image, name))
    return function


async def run(driver: DockerDriver, do: str, payload: Any = None, **more: Any) -> Any:
    return await Runner(driver).run(FunctionExecution(faas_id="f", **more), {"do": do, "with": payload})


async def ended_at_its_deadline(driver: DockerDriver) -> str:
    """Have a run go on for ever that is begun before its deadline, see it ended, and return that."""
    for seconds in DEADLINES_SECONDS:
        deadline = rfc3339_micro(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds))
        execution = FunctionExecution({"deadline": deadline}, faas_id="f")
        with pytest.raises(FunctionError) as caught:
            await Runner(driver).run(execution, {"do": "slow", "with": 1000})
        if logs_of(execution.context).stdout:
            break
    assert (caught.value.message, logs_of(execution.context).stdout) == (TIMED_OUT, ["begun"])
    return deadline


async def test_a_function_in_a_container_keeps_to_the_protocol_and_goes_without_a_trace(
    driver: DockerDriver, engine: ContainerEngine, podman: Podman
) -> None:
    function = await deploy(driver, "f.run")
    assert await run(driver, "echo", {"a": [1, None, "é"]}) == {"a": [1, None, "é"]}
    seen = await run(driver, "see", context={"event": {"eventType": "t"}})
    assert seen == {"event": {"eventType": "t"}, "secrets": {}, "serviceBindings": {}}
    for do, kind, message in (
        ("refuse", InputError, "no such person"),
        ("fail", FunctionError, "it broke"),
        ("die", SystemError, "exit code 7"),
    ):
        with pytest.raises(InvocationError, match=message) as caught:
            await run(driver, do)
        assert type(caught.value) is kind
        assert await run(driver, "echo", 1) == 1, "the next run works"
    execution = FunctionExecution(faas_id="f")
    await Runner(driver).run(execution, {"do": "show", "with": 5})
    assert logs_of(execution.context).as_object() == {"stdout": ["out 5"], "stderr": ["err 5"]}
    deadline = await ended_at_its_deadline(driver)
    with pytest.raises(FunctionError, match="Did not invoke"):
        await run(driver, "echo", context={"deadline": deadline})
    client = podman.client()
    container = client.containers.list(filters={"label": "dispatch-function-revision=f"})[0]
    assert container.name == "dispatch-f-f"
    assert container.attrs["HostConfig"]["Memory"] == 256 << 20
    [(address, port)] = [(at["HostIp"], int(at["HostPort"])) for at in container.ports["8080/tcp"] or ()]
    assert address == "127.0.0.1"
    assert await driver.deployments() == {"f"}
    container.stop(timeout=1)
    assert await run(driver, "echo", 3) == 3, "a container that has ended is started again"
    container.stop(timeout=1)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whatever connections there were
        taken.bind(("127.0.0.1", port))
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # with nobody
        assert await run(driver, "echo", 4) == 4, "and another where its port is not to be had"
    client.close()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(run(driver, "slow", 1))
        tasks.create_task(driver.delete(function))  # comes to its turn when the call has begun
    assert call.result() is None, "a call that goes on ends before its container does"
    await driver.delete(function)
    assert await driver.deployments() == set()
    assert await engine.images({"dev.skerry.owner": "test", "dev.skerry.role": "function"}) == {}
    with pytest.raises(SystemError, match="missing container for function f"):
        await run(driver, "echo")


async def test_what_can_not_be_built_at_all_is_told(driver: DockerDriver) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../f.py"))
    with pytest.raises(BuildError, match="outside"):
        await deploy(driver, "f.run", content.getvalue())
    with pytest.raises(FunctionError, match="is no base image: it has no folder /function-template"):
        await deploy(driver, "f.run", image="localhost/rootfs:1")
    with pytest.raises(SystemError, match="localhost/none:1 is not there"):
        await deploy(driver, "f.run", image="localhost/none:1")


#: Stands for pip: installs what requirements.txt names from a folder, and nothing else.
INSTALLER = b"""
import pathlib, shutil, sys
for line in pathlib.Path(sys.argv[-1]).read_text().split():
    try:
        shutil.copy(f"/wheels/{line}.py", "/usr/lib/python3/dist-packages")
    except FileNotFoundError:
        sys.exit(f"No matching distribution found for {line}")
"""


@pytest.fixture(scope="module")
def base_with_installer(podman: Podman) -> str:
    """A base image with an installer, and a package for it to find."""
    files = {
        "Dockerfile": f"FROM {BASE}\nCOPY files /\n".encode(),
        "files/usr/lib/python3/dist-packages/pip.py": INSTALLER,
        "files/wheels/sigil.py": b"NAME = 'direwolf'",
    }
    podman.build("localhost/python3-pip:1", **files)
    return "localhost/python3-pip:1"


HELLO_JS = b"""
module.exports = (context, payload) => {
  console.log('hello', payload.name)
  if (payload.name === 'nobody') throw new TypeError('no such person')
  return { greeting: `Hello, ${payload.name}`, node: Number(process.versions.node.split('.')[0]) >= 20 }
}
"""


async def test_a_function_of_node_js_runs_in_a_container(podman: Podman, driver: DockerDriver) -> None:
    build_node_base(podman, "localhost/node-base:1")
    with pytest.raises(BuildError, match="Cannot find module"):
        await deploy(driver, "./hello.js", b"require('./none.js')", "localhost/node-base:1")
    function = await deploy(driver, "./hello.js", HELLO_JS, "localhost/node-base:1")
    execution = FunctionExecution(faas_id="f")
    output = await Runner(driver).run(execution, {"name": "Jon"})
    assert output == {"greeting": "Hello, Jon", "node": True}
    assert logs_of(execution.context).stdout == ["hello Jon"]
    with pytest.raises(InputError, match="no such person"):
        await Runner(driver).run(FunctionExecution(faas_id="f"), {"name": "nobody"})
    await driver.delete(function)


#: A base image of nothing but a template, which builds without running anything.
EMPTY_BASE = {
    "Dockerfile": b"FROM scratch\nCOPY function-template /function-template\n",
    "function-template/Dockerfile": b"ARG IMAGE\nFROM ${IMAGE}\nCOPY . /function\n",
}


#: As `docker login` writes it down.
LOGIN = f"{USERNAME}:{PASSWORD}"


async def test_images_of_functions_are_pushed_to_a_registry_that_asks_who_one_is(
    podman: Podman, tmp_path: Path
) -> None:
    podman.build("localhost/empty-base:1", **EMPTY_BASE)
    with RegistryProcess.started(tmp_path / "registry", password=True, tls=True) as registry:
        podman.trust(registry.host, registry.ca_file.read_bytes())
        settings = DockerImageSettings(f"{registry.host}/team", owner="test")
        config = tmp_path / "config.json"
        async with connected(podman.host, config) as engine:
            with pytest.raises(SystemError, match="could not be pushed"):
                await DockerImageBuilder(settings, engine).build_image(
                    "openfaas", "refused", Exec(SOURCE, "f.run", "localhost/empty-base:1")
                )
        config.write_text(json.dumps({"auths": {registry.host: {"auth": b64encode(LOGIN.encode()).decode()}}}))
        async with connected(podman.host, config) as engine:
            builder = DockerImageBuilder(settings, engine)
            image = await builder.build_image("openfaas", "pushed", Exec(SOURCE, "f.run", "localhost/empty-base:1"))
            assert image == f"{registry.host}/team/func-pushed:latest"
            await builder.remove_image("pushed")
            assert await engine.image_id(image) is None
            await a_node_pulls_with_the_credentials_of_its_application(podman, tmp_path, registry.host, image)
            await engine.pull(image)  # as the engine that runs it does
            source = await engine.copy_out(image, "/function")
            assert source is not None
            with tarfile.open(fileobj=io.BytesIO(source)) as archive:
                member = archive.extractfile("function/f.py")
                assert member is not None
                assert member.read() == SOURCE
            for function in ("pushed", "refused"):
                await builder.remove_image(function)


async def a_node_pulls_with_the_credentials_of_its_application(
    podman: Podman, folder: Path, address: str, image: str
) -> None:
    keys = {"address": address, "username": USERNAME, "password": PASSWORD}
    data = {name: b64encode(value.encode()).decode() for name, value in keys.items()}
    login = {"labels": {"secret-type": "registry"}, "data": data}
    volumes = [{"name": "team", "secret": {"name": "team", "version": "1"}}]
    cloud = FakeCloud({("secret", "team", "1"): login})
    client = podman.client()
    try:
        async with member_node(folder / "node", cloud, engine=(podman.host, NETWORK)) as node:
            node.add("unknown", "1", {"image": image}, mode="kube")
            node.want(unknown="1")
            refused = await node.until("unknown", lambda state: state.status == "Failed")
            assert "auth" in refused.cause
            node.add("known", "1", {"image": image}, mode="kube", volumes=volumes)
            node.want(known="1")
            await until(lambda: any(image in (each["RepoTags"] or ()) for each in client.api.images()))
            assert not list((folder / "node" / "volumes").rglob("password")), "it is for no program to read"
    finally:
        client.close()


async def test_an_image_has_packages_and_functions_are_built_from_it(
    driver: DockerDriver, engine: ContainerEngine, base_with_installer: str
) -> None:
    images = DockerImages(IMAGES, engine)
    base = await images.base(base_with_installer, "python3")
    assert await images.build(Recipe(base, "python3")) == base
    recipe = Recipe(base, "python3", "sigil\n")
    image = await images.build(recipe)
    assert await images.build(recipe) == image
    assert await images.built() == {image}
    source = b"from sigil import NAME\ndef run(context, payload): return NAME"
    function = await deploy(driver, "f.run", source, image)
    assert await run(driver, "") == "direwolf"
    await driver.delete(function)
    await images.remove(image)
    assert (await images.built(), await images.has(image)) == (set(), False)
    with pytest.raises(BuildError, match="No matching distribution found for none-such"):
        await images.build(Recipe(base, "python3", "none-such\n"))
    with pytest.raises(BuildError, match="has no apt-get"):
        await images.build(Recipe(base, "python3", "", (("libpq5", "15"),)))


def until_settled(http: httpx.Client, kind: str, name: str) -> dict[str, Any]:
    """Wait until the newest state of an object was made, or can't be; return what Dispatch tells of it."""
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while True:
        found = http.get(f"/apis/dispatch.skerry.dev/v1/namespaces/default/{kind}s/{name}").json()
        if found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]:
            return dict(http.get(f"/v1/{kind}/{name}").json())
        assert time.monotonic() < deadline, found


def put(http: httpx.Client, code: str, method: str = "PUT", path: str = "/v1/function/hello") -> dict[str, Any]:
    answer = http.request(method, path, json={"name": "hello", "image": "python3", "code": code, "main": "handle"})
    assert answer.is_success, answer.text
    return until_settled(http, "function", "hello")


def ask(http: httpx.Client) -> Any:
    return http.post("/v1/runs", params={"functionName": "hello"}, json={"blocking": True}).json()


@pytest.fixture(scope="module")
def skerry(podman: Podman, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkerryProcess]:
    """One that runs functions in containers."""
    settings = f"faas_docker_host = '{podman.host}'\nfaas_docker_network = '{NETWORK}'\n"
    data = tmp_path_factory.mktemp("skerry") / "data"
    with SkerryProcess.started(data, "--faas", "docker", cache_dir=cache_dir, settings=settings) as running:
        yield running


def test_skerry_runs_functions_in_containers_and_updates_them_without_a_gap(
    podman: Podman, skerry: SkerryProcess
) -> None:
    with skerry.api_client() as http:
        http.headers["x-dispatch-org"] = "default"
        http.post("/v1/baseimage", json={"name": "base", "dockerUrl": BASE, "language": "python3"})
        http.post("/v1/image", json={"name": "python3", "baseImageName": "base"})
        put(http, "def handle(context, payload):\n    print('seen')\n    return 'first'\n", "POST", "/v1/function")
        done = ask(http)
        assert (done["output"], done["logs"]["stdout"]) == ("first", ["seen"])
        assert put(http, "def handle(context, payload): return 'second'")["reason"] is None
        assert ask(http)["output"] == "second"
        broken = put(http, "handle = 1")
        assert broken["status"] == "READY"
        assert broken["reason"][0].startswith(f"Error building image for function '{broken['id']}': ")
        assert "cannot be called" in broken["reason"][0]
        assert ask(http)["output"] == "second"
        http.post("/v1/function", json={"name": "lost", "image": "cobol", "code": "x"})
        told = until_settled(http, "function", "lost")
        assert told["reason"] == ["Error when fetching image for function lost: image cobol not found"]
        client = podman.client()
        assert len(client.containers.list(all=True)) == 1, "of updates, the old and the failed are gone"
        assert http.delete("/v1/function/hello").status_code == 200
        deadline = time.monotonic() + STATE_SECONDS_MAX
        while http.get("/v1/function/hello").status_code != 404:
            assert time.monotonic() < deadline
        assert client.containers.list(all=True) == []
        assert not [tag for image in client.images.list() for tag in image.tags if "/func-" in tag]
        client.close()


def is_gone(client: docker.DockerClient, container: Container) -> bool:
    try:
        client.containers.get(str(container.id))
    except APIError as error:  # while it is being removed, podman answers 500
        return "no such container" in str(error.explanation).lower()
    return False


async def test_an_application_of_a_node_runs_in_containers_with_its_files_and_goes_without_a_trace(
    podman: Podman, tmp_path: Path
) -> None:
    cloud = FakeCloud({("configuration", "settings", "5"): {"data": {"greeting": "hello"}}})
    script = "import time; print(open('/etc/app/greeting').read(), flush=True); time.sleep(1000)"
    service = {
        "image": BASE,
        "command": ["python3", "-c"],
        "args": [script],
        "volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}],
    }
    volumes = [{"name": "conf", "config": {"name": "settings", "version": "5"}}]
    client = podman.client()
    try:
        async with member_node(tmp_path, cloud, engine=(podman.host, NETWORK)) as node:
            node.add("web", "7", service, mode="kube", volumes=volumes)
            node.add(
                "web",
                "8",
                {**service, "image": "localhost/not-there:1", "imagePullPolicy": "Never"},
                mode="kube",
                volumes=volumes,
            )
            node.add("greedy", "1", {**service, "security": {"privileged": True}}, mode="kube", volumes=volumes)
            node.want(web="7", greedy="1")
            refused = await node.until("greedy", lambda state: state.status == "Failed")
            assert refused.cause == "service main: this node does not let containers be privileged"
            await node.until("web", lambda state: state.status == "Running")
            (container,) = client.containers.list(filters={"label": "skerry.application=web"})
            await until(lambda: container.logs() == b"hello\n")
            node.want(web="8")
            failed = await node.until("web", lambda state: state.status == "Failed")
            assert "is not here, and is never pulled" in failed.document("host")["cause"]
            assert container.logs() == b"hello\n", "what ran before still runs"
            node.want()
            await until(lambda: is_gone(client, container))
    finally:
        client.close()


def test_an_agent_runs_an_application_in_containers_and_its_settings_reach_them(
    podman: Podman, skerry: SkerryProcess, tmp_path: Path
) -> None:
    def settings(greeting: str) -> dict[str, Any]:
        return {"name": "greeting", "data": [{"key": "greeting", "value": {"type": "kv", "value": greeting}}]}

    script = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); "
        "print(open('/etc/app/greeting').read(), flush=True); signal.pause()"
    )
    service = {
        "name": "main",
        "image": BASE,
        "command": ["python3", "-c"],
        "args": [script],
        "volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}],
    }
    volumes = [{"name": "conf", "config": {"name": "greeting"}}]
    client = podman.client()

    def said() -> list[bytes] | None:
        """Return what each of its containers printed; None while one of them is being removed."""
        try:
            found = client.containers.list(
                all=True, filters={"label": "skerry.application=greeter"}, ignore_removed=True
            )
            return [each.logs() for each in found]
        except APIError:
            return None

    with AgentFleet.running(skerry, tmp_path) as fleet:
        fleet.ask("POST", "/v1/nodes", {"name": "n1", "labels": {"site": "lyon"}})
        fleet.agent("n1", "/v1/nodes/n1/init", containerHost=podman.host, containerNetwork=NETWORK).start()
        fleet.ask("POST", "/v1/configs", settings("hello"))
        wanted = {"name": "greeter", "selector": "site=lyon", "services": [service], "volumes": volumes}
        fleet.ask("POST", "/v1/apps", wanted)
        fleet.until_status("n1", "greeter", "Running")
        until_it_holds(lambda: said() == [b"hello\n"], "it has read its settings")
        fleet.ask("PUT", "/v1/configs/greeting", settings("goodbye"))
        until_it_holds(lambda: said() == [b"goodbye\n"], "they were changed")
        fleet.ask("DELETE", "/v1/apps/greeter")
        until_it_holds(lambda: said() == [], "it is gone")
    client.close()
