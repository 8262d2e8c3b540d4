"""Which revision of a function gets its requests: shares, tags, rollback and promotion, on a real Envoy."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from skerry.cli import app
from skerry.testing.manifests import answering, edge_function
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

REQUESTS = 300
#: Of a binomial distribution of 300 draws, over eight standard deviations: one run in 10^15 strays further.
STRAY_MAX = 75
CHANGES = 20
TRAFFIC_READY = '--for=jsonpath={.status.conditions[?(@.type=="Traffic")].status}=True'


@pytest.fixture(scope="module")
def gateway(skerry: SkerryProcess) -> Iterator[httpx.Client]:
    """A client that keeps its connections."""
    with httpx.Client(base_url=skerry.http, trust_env=False, timeout=30.0) as http:
        yield http


def deploy(skerry: SkerryProcess, name: str, *texts: str) -> list[str]:
    """Apply one template after the other; return the names of their revisions."""
    names = []
    for text in texts:
        skerry.apply(edge_function(name, answering(text)))
        skerry.until_ready(f"ef/{name}")
        names.append(skerry.kubectl("get", "ef", name, "-o", "jsonpath={.status.liveRevision}"))
    return names


def share(skerry: SkerryProcess, name: str, *entries: dict[str, Any]) -> None:
    skerry.kubectl("patch", "ef", name, "--type=merge", "-p", json.dumps({"spec": {"traffic": entries}}))


def until_answers(gateway: httpx.Client, host: str, text: str) -> None:
    """Ask until the answer is `text`: the gateway follows within milliseconds."""
    until(lambda: gateway.get("/", headers={"Host": host}).text == text, f"{host} answers {text!r}")


def drawn(gateway: httpx.Client, host: str) -> Counter[str]:
    return Counter(gateway.get("/", headers={"Host": host}).text for _ in range(REQUESTS))


def assert_about(drawn: Counter[str], **expected: int) -> None:
    assert set(drawn) == set(expected)
    for text, count in expected.items():
        assert abs(drawn[text] - count) <= STRAY_MAX, drawn


def test_requests_are_shared_by_percent_and_by_the_weights_of_routes(skerry: SkerryProcess, gateway: httpx.Client):
    one, two = deploy(skerry, "split", "one", "two")
    deploy(skerry, "whole", "other")
    share(skerry, "split", {"revision": one, "percent": 70}, {"revision": two, "percent": 30})
    skerry.kubectl("wait", "--for=jsonpath={.status.traffic[1].ready}=true", "ef/split", "--timeout=30s")
    assert_about(drawn(gateway, "split.functions.localhost"), one=210, two=90)
    function = {"group": "extensions.apoxy.dev", "kind": "EdgeFunction"}
    refs = [{**function, "name": "split", "weight": 1}, {**function, "name": "whole", "weight": 1}]
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "both", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "default"}],
            "hostnames": ["both.example.com"],
            "rules": [{"backendRefs": refs}],
        },
    }
    skerry.apply(json.dumps(route))
    until_answers(gateway, "both.example.com", "other")
    assert_about(drawn(gateway, "both.example.com"), one=105, two=45, other=150)


@contextmanager
def load(skerry: SkerryProcess, host: str) -> Iterator[Counter[tuple[int, str]]]:
    """Send requests, several at once, for the length of the block; count their answers."""
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=skerry.http, trust_env=False, timeout=30.0) as http:
            while not stop.is_set():
                answer = http.get("/", headers={"Host": host})
                answers[answer.status_code, answer.text] += 1

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_request_is_lost_while_traffic_changes_again_and_again(skerry: SkerryProcess):
    one, two, three = deploy(skerry, "busy", "one", "two", "three")
    with load(skerry, "busy.functions.localhost") as answers:
        for turn in range(CHANGES):
            part = turn * 5
            share(
                skerry,
                "busy",
                {"revision": one, "percent": part},
                {"revision": two, "percent": 100 - part, "tag": f"t{turn}"},
                {"revision": three, "tag": "three"},
            )
        until(lambda: {(200, "one"), (200, "two")} <= set(answers), "both are drawn")
    assert set(answers) <= {(200, "one"), (200, "two"), (200, "three")}


def test_a_tag_has_an_address_of_its_own_and_its_status_says_it(skerry: SkerryProcess, gateway: httpx.Client):
    one, _ = deploy(skerry, "tagged", "one", "two")
    share(skerry, "tagged", {"latest": True, "percent": 100}, {"revision": one, "tag": "old"})
    until_answers(gateway, "old--tagged.functions.localhost", "one")
    assert gateway.get("/", headers={"Host": "tagged.functions.localhost"}).text == "two"
    skerry.kubectl("wait", "--for=jsonpath={.status.traffic[1].ready}=true", "ef/tagged", "--timeout=30s")
    told = json.loads(skerry.kubectl("get", "ef", "tagged", "-o", "json"))["status"]["traffic"][1]
    port = skerry.http.rpartition(":")[2].rstrip("/")
    url = f"http://old--tagged.functions.localhost:{port}/"
    assert told == {"revision": one, "tag": "old", "url": url, "ready": True}


def test_what_can_not_be_is_refused_at_once_with_every_field(skerry: SkerryProcess):
    manifest = json.loads(edge_function("impossible", answering("x")))
    manifest["spec"]["traffic"] = [
        {"revision": "impossible-4", "percent": 60, "tag": "Bad"},
        {"latest": True, "percent": 50},
        {"percent": 101},
    ]
    told = skerry.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), fails=True)
    assert "spec.traffic[2].percent" in told
    manifest["spec"]["traffic"].pop()
    told = skerry.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), fails=True)
    assert "spec.traffic[0].tag" in told
    assert "must add up to 100, and they add up to 110" in told


@pytest.fixture
def command(
    skerry: SkerryProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run a `skerry` command in this process, which has its modules already; return its output and exit code."""
    monkeypatch.setenv("KUBECONFIG", str(skerry.data_dir / "kubeconfig"))

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["skerry", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        written = capsys.readouterr()
        return f"{written.out}{written.err}exit code {ended.value.code or 0}"

    return run


def test_a_rollback_holds_until_the_promotion(
    skerry: SkerryProcess, gateway: httpx.Client, command: Callable[..., str]
):
    host = "held.functions.localhost"
    one, two = deploy(skerry, "held", "one", "two")
    told = command("rollback", "held")
    assert f"edgefunction/held: revision {one} gets all requests" in told
    assert "skerry promote held" in told
    assert gateway.get("/", headers={"Host": host}).text == "one"
    skerry.apply(edge_function("held", answering("three")))
    skerry.kubectl("wait", "--for=condition=Latest", "ef/held", "--timeout=60s")
    assert gateway.get("/", headers={"Host": host}).text == "one", "an apply does not end a rollback"
    listed = command("revisions", "held")
    assert [row.split()[2] for row in listed.splitlines() if row.startswith(one)] == ["100%"]
    assert two in listed
    assert "50 % of the requests" in command("promote", "held", "--percent", "50")
    assert set(drawn(gateway, host)) == {"one", "three"}
    assert f"revision {one} gets all" in command("rollback", "held"), "the one that is being replaced"
    assert "exit code 0" in command("promote", "held")
    assert gateway.get("/", headers={"Host": host}).text == "three"
    assert skerry.kubectl("get", "ef", "held", "-o", "jsonpath={.spec.traffic}") == ""


def test_a_command_that_can_not_be_carried_out_says_what_to_do(skerry: SkerryProcess, command: Callable[..., str]):
    (only,) = deploy(skerry, "single", "one")
    assert f"has no revision nowhere; it has {only}" in command("rollback", "single", "--to", "nowhere")
    assert "no other one was live yet; name one with --to" in command("rollback", "single")
    assert f"hold the present one first (skerry promote single {only})" in command("promote", "single", "--percent=9")
    assert "give a revision or --latest, not both\nexit code 2" in command("promote", "single", only, "--latest")
    assert '"absent" not found\nexit code 1' in command("revisions", "absent")
