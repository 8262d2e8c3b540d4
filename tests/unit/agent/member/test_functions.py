"""Function applications of a node: real processes of Python and Node.js, called over HTTP."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from skerry.agent.member.function_front import BODY_BYTES_MAX
from skerry.agent.member.states import ApplicationState
from skerry.agent.member.users import UserRange
from skerry.testing.member_node import FakeCloud, MemberNode, member_node, until
from skerry.testing.passable import passable_folder

PYTHON = """
import os
def handler(event, context):
    print("called", context["functionName"])
    if event == "bytes":
        return b"\\xff\\x00"
    if event == "fail":
        raise RuntimeError("it broke")
    if event == "nothing":
        return None
    event = event.hex() if isinstance(event, bytes) else event
    return {"event": event, "context": context, "env": os.environ["COLOUR"]}

async def later(event, context):
    return "later"
"""
NODE = """
exports.handler = (event, context, callback) => {
  if (event === 'fail') return callback(new Error('it broke'))
  callback(null, { event: Buffer.isBuffer(event) ? event.toString('hex') : event, name: context.functionName })
}
exports.later = async (event) => Buffer.from('later')
"""


def runs(state: ApplicationState) -> bool:
    return state.status == "Running"


def failed(state: ApplicationState) -> bool:
    return state.status == "Failed"


def add(node: MemberNode, version: str, functions: list[dict[str, str]], code: dict[str, str], **more: Any) -> None:
    """Have the control plane know a function application as it delivers them: with the configuration that it makes."""
    resources = node.cloud.resources
    resources["configuration", "made", version] = {"data": {"conf.yml": json.dumps({"functions": functions})}}
    resources["configuration", "code", version] = {"data": code}
    volumes = [
        {"name": "conf", "config": {"name": "made", "version": version}},
        {"name": "code", "config": {"name": "code", "version": version}},
    ]
    service = {
        "name": more.pop("service", "main"),
        "functionConfig": {"name": "code", "runtime": more.pop("runtime", "python3")},
        "volumeMounts": [
            {"name": "conf", "mountPath": "/etc/baetyl"},
            {"name": "code", "mountPath": "/var/lib/baetyl/code"},
        ],
        "env": [{"name": "COLOUR", "value": "green"}],
        "resources": more.pop("resources", None),
    }
    node.add(more.pop("application", "web"), version, service, volumes=volumes, type="function", mode="kube")


async def call(node: MemberNode, path: str, content: bytes = b"", **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=node.front.url, trust_env=False, timeout=60) as http:
        return await http.post(path, content=content, **more)


async def test_handlers_of_python_are_called_by_name_and_get_event_and_context(start: Any) -> None:
    async with start(FakeCloud()) as node:
        functions = [{"name": "first", "handler": "index.handler"}, {"name": "second", "handler": "index.later"}]
        add(node, "1", functions, {"index.py": PYTHON})
        node.want(web="1")
        state = await node.until("web", runs)
        assert state.instances[0].pid
        answer = await call(node, "/main/first", b'{"a": 1}', headers={"invokeid": "7"})
        context = {"serviceName": "main", "functionName": "first", "invokeId": "7"}
        assert answer.json() == {"event": {"a": 1}, "context": context, "env": "green"}
        assert answer.headers["content-type"] == "application/json"
        assert (await call(node, "/main", b"\xfe")).json()["event"] == "fe", "the first, of what is no JSON"
        assert (await call(node, "/main/first", b'"bytes"')).content == b"\xff\x00"
        assert (await call(node, "/main/first", b'"nothing"')).content == b""
        assert (await call(node, "/main/second", b"1")).json() == "later"
        log = node.data_dir / "logs" / "web" / "main-0.log"
        await until(lambda: log.read_text().count("called first") == 4)


async def test_what_can_not_be_called_is_told(start: Any) -> None:
    async with start(FakeCloud()) as node:
        add(node, "1", [{"name": "first", "handler": "index.handler"}], {"index.py": PYTHON})
        node.want(web="1")
        await node.until("web", runs)
        for path, content, status, code in (
            ("/other/first", b"", 404, "ERR_ADDRESS_RESOLVE"),
            ("/main/first/more", b"", 404, "ERR_ADDRESS_RESOLVE"),
            ("/main/other", b"", 404, "ERR_FUNCTION_CALL"),
            ("/main/first", b'"fail"', 500, "ERR_FUNCTION_CALL"),
            ("/main/first", bytes(BODY_BYTES_MAX + 1), 413, "ERR_FUNCTION_CALL"),
        ):
            answer = await call(node, path, content)
            assert (answer.status_code, answer.json()["errCode"]) == (status, code)
        assert (await call(node, "/main/first", b'"fail"')).json()["message"] == "it broke"


async def test_a_version_whose_handler_does_not_load_leaves_the_one_before_serving(start: Any) -> None:
    async with start(FakeCloud()) as node:
        add(node, "1", [{"name": "first", "handler": "lib.index.handler"}], {"index.py": PYTHON})
        add(node, "2", [{"name": "first", "handler": "index.handler"}], {"index.py": PYTHON})
        add(node, "3", [{"name": "first", "handler": "index.nothing"}], {"index.py": PYTHON})
        node.want(web="1")
        assert "No module named 'lib'" in (await node.until("web", failed)).cause
        node.want(web="2")
        await node.until("web", runs)
        node.want(web="3")
        assert "service main: module 'index' has no attribute 'nothing'" in (await node.until("web", failed)).cause
        assert (await call(node, "/main/first", b"2")).json()["event"] == 2
        add(node, "4", [{"name": "first", "handler": "index.handler"}], {"index.py": PYTHON}, application="twin")
        node.want(web="2", twin="4")
        state = await node.until("twin", failed)
        assert state.cause == "service main: functions of the application web are called by that name"
        node.want(twin="4")
        await node.until("twin", runs)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on PATH")
async def test_handlers_of_node_js_call_back_or_return_a_promise(start: Any) -> None:
    async with start(FakeCloud()) as node:
        functions = [{"name": "first", "handler": "index.handler"}, {"name": "second", "handler": "index.later"}]
        add(node, "1", functions, {"index.js": NODE}, runtime="nodejs10")
        node.want(web="1")
        await node.until("web", runs)
        assert (await call(node, "/main/first", b"[1]")).json() == {"event": [1], "name": "first"}
        assert (await call(node, "/main/first", b"\xfe")).json() == {"event": "fe", "name": "first"}
        assert (await call(node, "/main/second", b"1")).content == b"later"
        assert (await call(node, "/main/first", b'"fail"')).json()["message"] == "it broke"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have functions run as other users")
async def test_of_all_applications_no_more_processes_wait_than_a_node_may_have(start: Any) -> None:
    async with start(FakeCloud(), warm_processes_max=1) as node:

        def waits(application: str) -> Callable[[ApplicationState], bool]:
            return lambda state: runs(state) and bool(state.instances[0].pid) == (state.name == application)

        for name in ("web", "other"):
            add(
                node,
                "1",
                [{"name": "first", "handler": "index.handler"}],
                {"index.py": PYTHON},
                application=name,
                service=name,
            )
        node.want(web="1")
        await node.until("web", waits("web"))
        node.want(web="1", other="1")
        for last in ("other", "web"):
            # The one that came, or was called, last waits; the other ends, and goes on to be served.
            assert last == "other" or (await call(node, f"/{last}/first", b"1")).json()["event"] == 1
            for name in ("web", "other"):
                await node.until(name, waits(last))


async def test_functions_run_as_the_user_of_their_application() -> None:
    source = "import os\ndef handler(event, context): return [os.getuid(), os.getgid(), os.getgroups()]"
    with passable_folder() as folder:
        async with member_node(folder, FakeCloud(), users=UserRange(72_000, 2)) as node:
            add(node, "1", [{"name": "who", "handler": "index.handler"}], {"index.py": source})
            node.want(web="1")
            state = await node.until("web", lambda state: runs(state) or failed(state))
            if "can't read" in state.cause:
                pytest.skip(state.cause)
            assert (await call(node, "/main/who")).json() == [72_000, 72_000, []]


async def test_the_memory_of_a_service_takes_the_place_of_what_functions_have_without(start: Any) -> None:
    source = """
import resource
def handler(event, context):
    return [resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
"""
    async with start(FakeCloud()) as node:
        memory = {"limits": {"memory": "2Gi"}}
        add(node, "1", [{"name": "limits", "handler": "index.handler"}], {"index.py": source}, resources=memory)
        node.want(web="1")
        await node.until("web", runs)
        assert (await call(node, "/main")).json() == [2 * 1024**3, resource.getrlimit(resource.RLIMIT_AS)[0]]


async def test_a_runtime_that_is_not_here_is_told(start: Any) -> None:
    async with start(FakeCloud()) as node:
        add(node, "1", [{"name": "first", "handler": "a.b"}], {"a.sql": ""}, runtime="sql")
        node.want(web="1")
        assert "this node has no runtime sql" in (await node.until("web", failed)).cause


async def test_an_event_that_is_nested_too_deeply_to_be_read_is_one_of_bytes(start: Any) -> None:
    async with start(FakeCloud()) as node:
        add(node, "1", [{"name": "first", "handler": "index.handler"}], {"index.py": PYTHON})
        node.want(web="1")
        await node.until("web", runs)
        nested = b"[" * 100_000
        answer = await call(node, "/main/first", nested)
        assert (answer.status_code, answer.json()["event"]) == (200, nested.hex())
