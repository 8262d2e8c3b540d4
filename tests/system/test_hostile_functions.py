"""A function that means harm harms only itself: beside each, another function's every answer is right.

One engine worker, so that they share all that there is. How much later the neighbour's answers come is measured by
`bench/hostile.py`, and not asserted here.
"""

import json
import os
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from skerry.testing.hostile_functions import FORBIDDEN_PLACES, NUMBER, POLLUTION, SIZE, TIME, hostile_function
from skerry.testing.manifests import edge_function
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import SECONDS_MAX, until

NEIGHBOUR = """export default { fetch(request) {
  console.log('asked');
  return Response.json({ id: request.headers.get('x-request-id'), trace: request.headers.get('traceparent') });
} };"""
FETCHER = """export default { async fetch(request) {
  const told = {};
  for (const place of await request.json())
    for (const url of [`http://${place}/`, `https://${place}:8443/`])
      told[url] = await fetch(url).then((r) => `answered ${r.status}`, (e) => `${e.name}: ${e.message}`);
  return Response.json(told);
} };"""
SIMULTANEOUS = 2
GIB = 1 << 30
#: Calls that each take all the memory that they may have.
FAILING = 32
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def skerry(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[SkerryProcess]:
    directory = tmp_path_factory.mktemp("hostile") / "data"
    with SkerryProcess.started(directory, "--workers", "1", cache_dir=cache_dir) as running:
        manifests = [
            edge_function("neighbour", NEIGHBOUR),
            edge_function("fetcher", FETCHER),
            hostile_function("hostile", isolation="request"),
            hostile_function("polluter", isolation="instance"),
        ]
        running.apply("\n---\n".join(manifests))
        names = [f"edgefunction/{json.loads(manifest)['metadata']['name']}" for manifest in manifests]
        running.until_ready(*names)
        yield running


@pytest.fixture(scope="module")
def http(skerry: SkerryProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=skerry.http, trust_env=False, timeout=SECONDS_MAX) as client:
        yield client


def ask(http: httpx.Client, function: str, path: str = "/") -> httpx.Response:
    return http.get(path, headers={"host": f"{function}.functions.localhost"})


@pytest.fixture
def neighbour(http: httpx.Client) -> Iterator[None]:
    """Ask the neighbour without a pause for as long as the test runs; every answer must be right."""
    over, wrong, right = threading.Event(), list[str](), 0

    def ask_again() -> None:
        nonlocal right
        while not over.is_set():
            answer = ask(http, "neighbour")
            if answer.status_code == httpx.codes.OK and "id" in answer.json():
                right += 1
            else:
                wrong.append(answer.text)

    thread = threading.Thread(target=ask_again)
    thread.start()
    yield
    over.set()
    thread.join()
    assert wrong == []
    assert right > 0


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize("hostile", [TIME, SIZE, NUMBER, POLLUTION], ids=["time", "size", "number", "pollution"])
def test_a_hostile_function_is_told_its_limit_and_its_neighbour_answers_all_the_while(
    http: httpx.Client, hostile: Mapping[str, Collection[str]]
):
    with ThreadPoolExecutor(SIMULTANEOUS) as clients:
        for name, expected in hostile.items():
            asked = [clients.submit(ask, http, "hostile", f"/{name}") for _ in range(SIMULTANEOUS)]
            for answer in [each.result() for each in asked]:
                told = "ok" if answer.is_success else answer.headers.get("x-skerry-error")
                assert told in expected, (name, answer.text)


@pytest.mark.usefixtures("neighbour")
def test_a_function_that_breaks_its_own_world_breaks_no_other(http: httpx.Client):
    for _ in range(2):  # the second time, worlds are met that are broken already
        for name in POLLUTION:
            assert ask(http, "polluter", f"/{name}").status_code in {200, 500}


def test_the_memory_of_instances_that_failed_is_given_back(skerry: SkerryProcess, http: httpx.Client):
    with ThreadPoolExecutor(FAILING // 4) as clients:
        for answer in clients.map(lambda _: ask(http, "hostile", "/bytes"), range(FAILING)):
            assert answer.headers.get("x-skerry-error") in SIZE["bytes"]
    until(lambda: worker_bytes(skerry) < GIB, f"the worker has given back most of {FAILING} times 128 MiB")


def worker_bytes(skerry: SkerryProcess) -> int:
    """Return the resident memory of the engine's worker."""
    assert skerry.process is not None
    children = Path(f"/proc/{skerry.process.pid}/task").glob("*/children")
    pids = [pid for listed in children for pid in listed.read_text().split()]
    worker = next(pid for pid in pids if b"skerry.main.worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.usefixtures("neighbour")
def test_a_body_of_a_gigabyte_is_413_said_or_not(http: httpx.Client):
    def endless() -> Iterator[bytes]:
        for _ in range(GIB >> 20):
            yield b"x" * (1 << 20)

    for headers in ({"content-length": str(GIB)}, {}):
        sent = {"host": "hostile.functions.localhost", **headers}
        try:
            answer = http.post("/loop", headers=sent, content=endless())
        except httpx.WriteError:  # the answer came, and then the end, while there was still much to send
            continue
        assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE


@pytest.mark.usefixtures("neighbour")
def test_no_spelling_of_an_address_leads_a_function_inside(http: httpx.Client):
    answer = http.post("/", headers={"host": "fetcher.functions.localhost"}, json=FORBIDDEN_PLACES)
    told = answer.json()
    assert len(told) == 2 * len(FORBIDDEN_PLACES)
    assert {url: said for url, said in told.items() if not said.startswith("TypeError: ")} == {}


def read_log(skerry: SkerryProcess, function: str, query: str, *, fails: bool = False) -> str:
    path = f"/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/{function}/log?{query}"
    return skerry.kubectl("get", "--raw", path, fails=fails)


def test_an_answer_leads_to_its_lines_in_the_log(skerry: SkerryProcess, http: httpx.Client):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = http.get("/", headers={"host": "neighbour.functions.localhost", "traceparent": trace})
    request_id = answer.headers["x-request-id"]
    assert answer.json() == {"id": request_id, "trace": trace}
    (line,) = read_log(skerry, "neighbour", f"requestId={request_id}").splitlines()
    assert (json.loads(line)["message"], json.loads(line)["level"]) == ("asked", "info")
    printed = skerry.skerry("logs", "neighbour", "--request", request_id, "--since", "1h", "--level", "info")
    assert re.fullmatch(rf"\S+Z INFO +neighbour-\S+ {request_id[:8]} asked\n", printed)
    assert read_log(skerry, "neighbour", "level=error") == ""
    assert "level: unsupported value" in read_log(skerry, "neighbour", "level=loud", fails=True)
    assert re.match(r"\d{4}-\S+Z {", read_log(skerry, "neighbour", "tailLines=1&timestamps=true"))


@pytest.mark.usefixtures("neighbour")
def test_a_flooded_log_is_bounded_and_says_how_much_it_lost(skerry: SkerryProcess, http: httpx.Client):
    while "lines were dropped" not in read_log(skerry, "hostile", "level=warn&tailLines=100"):
        ask(http, "hostile", "/logFlood")
    directory = skerry.data_dir / "logs" / "functions"
    assert 0 < sum(path.stat().st_size for path in directory.glob("hostile.*.log*")) < 20 << 20


def test_what_functions_use_is_on_metrics_and_ends_with_them(skerry: SkerryProcess, http: httpx.Client):
    skerry.apply(edge_function("measured", NEIGHBOUR))
    skerry.until_ready("edgefunction/measured")
    asked = [
        ask(http, function, path) for function, path in (("measured", "/"), ("neighbour", "/"), ("hostile", "/loop"))
    ]
    assert [answer.is_success for answer in asked] == [True, True, False]
    text = skerry.kubectl("get", "--raw", "/metrics")
    assert re.search(
        r'skerry_function_requests_total\{code_class="2xx",function="neighbour",revision="neighbour-\S+"\} ', text
    )
    assert re.search(r'skerry_function_limit_hits_total\{function="hostile",limit="cpuTime"\} [1-9]', text)
    assert re.search(r'skerry_function_request_duration_seconds_bucket\{function="neighbour",le="\+Inf"\} [1-9]', text)
    for metric in ("cpu_seconds_total", "cold_starts_total", "subrequests_total", "instances", "memory_bytes"):
        assert f'skerry_function_{metric}{{function="measured"}} ' in text
    skerry.kubectl("delete", "ef", "measured")
    until(lambda: 'function="measured"' not in skerry.kubectl("get", "--raw", "/metrics"), "nothing of it is left")


def test_limits_that_do_not_fit_are_all_named_and_change_nothing(skerry: SkerryProcess):
    document = json.loads(edge_function("greedy", "export default { fetch: () => new Response('') };"))
    document["spec"]["template"]["runtime"] = {
        "isolation": "instance",
        "limits": {"memory": "1Ti", "cpuTime": "soon", "concurrency": 0},
    }
    told = skerry.kubectl("apply", "-f", "-", stdin=json.dumps(document), fails=True)
    assert "runtime.limits.memory" in told
    assert "must be at most 512Mi here (setting function_memory_bytes_max)" in told
    assert "runtime.limits.cpuTime" in told
    assert "runtime.limits.concurrency" in told
    assert "NotFound" in skerry.kubectl("get", "ef", "greedy", fails=True)
