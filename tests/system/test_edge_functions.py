"""The main job: `kubectl apply` an edge function, and a real Envoy serves it."""

import base64
import json
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from skerry.testing.manifests import answering, edge_function
from skerry.testing.skerry_process import CommandFailedError, SkerryProcess
from skerry.testing.waiting import until

READY = "--for=condition=Ready"
FUNCTIONS_AT_ONCE = 100


def deploy(skerry: SkerryProcess, manifest: str) -> str:
    name = json.loads(manifest)["metadata"]["name"]
    skerry.apply(manifest)
    skerry.until_ready(f"edgefunction/{name}")
    return f"http://{name}.functions.localhost"


def live_revision(skerry: SkerryProcess, name: str) -> str:
    return skerry.kubectl("get", "ef", name, "-o", "jsonpath={.status.liveRevision}")


def test_the_commands_of_the_readme_work(skerry: SkerryProcess, repository: Path):
    skerry.kubectl("apply", "-f", str(repository / "examples/hello/function.yaml"))
    skerry.kubectl("wait", READY, "edgefunction/hello", "--timeout=60s")
    answer = skerry.get("http://hello.functions.localhost/world")
    assert (answer.status_code, answer.text) == (200, "Hello, world!\n")
    assert "hello" in skerry.kubectl("get", "edgefunctions")
    assert "hello-" in skerry.kubectl("get", "edgefunctionrevisions")
    assert "timeout" in skerry.kubectl("explain", "edgefunction.spec.template.runtime")


def test_a_route_of_the_users_own_leads_to_the_function(skerry: SkerryProcess, repository: Path):
    skerry.kubectl("apply", "-f", str(repository / "examples/hello/function.yaml"))
    skerry.kubectl("apply", "-f", str(repository / "examples/routes/shop.yaml"))
    condition = '{.status.parents[0].conditions[?(@.type=="ResolvedRefs")].status}'
    skerry.kubectl("wait", f"--for=jsonpath={condition}=True", "httproute/shop", "--timeout=30s")
    skerry.kubectl("wait", READY, "edgefunction/hello", "--timeout=60s")
    wait_for_status(skerry, "http://shop.example.com/hello", 200)
    assert skerry.get("http://shop.example.com/hello").text == "Hello, hello!\n"
    assert skerry.get("http://shop.example.com/elsewhere").status_code == 404


def test_the_filter_of_the_examples_guards_a_function(skerry: SkerryProcess, repository: Path):
    for name in ("hello/function.yaml", "filter/function.yaml", "filter/route.yaml"):
        skerry.kubectl("apply", "-f", str(repository / "examples" / name))
    skerry.kubectl("wait", READY, "edgefunction/hello", "edgefunction/guard", "--timeout=60s")
    url = "http://guarded.example.com/sam"
    wait_for_status(skerry, url, 401)
    answer = skerry.request("GET", url, headers={"x-key": "open-sesame"})
    assert (answer.status_code, answer.text, answer.headers["x-guarded"]) == (200, "Hello, sam!\n", "/sam")
    own = skerry.get("http://guard.functions.localhost/")
    assert (own.status_code, "mode filter" in own.text) == (404, True)
    assert live_revision(skerry, "guard") == skerry.kubectl(
        "get", "ef", "guard", "-o", "jsonpath={.status.servingRevision}"
    )


def wait_for_status(skerry: SkerryProcess, url: str, status: int) -> None:
    """Ask until the answer has a status: routes follow their conditions within milliseconds."""
    until(lambda: skerry.get(url).status_code == status, f"{url} answers {status}")


def test_typescript_json_and_several_files_are_bundled(skerry: SkerryProcess):
    files = {
        "src/main.ts": 'import words from "./words.json";\nimport { shout } from "./shout";\n'
        "export default { fetch(_: Request): Response { return new Response(shout(words.hello)); } };",
        "src/shout.ts": "export const shout = (text: string): string => text.toUpperCase();",
        "src/words.json": '{"hello": "hello"}',
    }
    url = deploy(skerry, edge_function("typed", files, entrypoint="src/main.ts"))
    assert skerry.get(url).text == "HELLO"


def test_env_reaches_the_function(skerry: SkerryProcess):
    source = "export default { fetch(request, env) { return new Response(env.COLOUR); } };"
    url = deploy(skerry, edge_function("env", source, env={"COLOUR": "blue"}))
    assert skerry.get(url).text == "blue"


def test_every_response_during_an_update_is_old_or_new_and_none_fails(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("update", answering("old")))
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            answer = skerry.get(url)
            answers.append((answer.status_code, answer.text))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: answers, "the old one is asked")
        deploy(skerry, edge_function("update", answering("new")))
        after = skerry.get(url).text
        until(lambda: (200, "new") in answers, "the new one is asked")
        for turn in range(3):
            deploy(skerry, edge_function("update", answering(f"turn {turn}")))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert after == "new", "Ready was told before the new revision served"
    expected = {(200, text) for text in ("old", "new", "turn 0", "turn 1", "turn 2")}
    assert set(answers) <= expected
    assert {(200, "old"), (200, "new")} <= set(answers)


def test_a_broken_update_leaves_the_old_revision_serving_and_says_why(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("broken", answering("works")))
    before = live_revision(skerry, "broken")
    skerry.apply(edge_function("broken", "export default {\n  fetch( { }\n"))
    skerry.kubectl("wait", "--for=condition=Latest=False", "edgefunction/broken", "--timeout=60s")
    latest = '{.status.conditions[?(@.type=="Latest")]}'
    skerry.kubectl(
        "wait", '--for=jsonpath={.status.conditions[?(@.type=="Latest")].reason}=Failed', "ef/broken", "--timeout=60s"
    )
    message = json.loads(skerry.kubectl("get", "ef", "broken", "-o", f"jsonpath={latest}"))["message"]
    assert "index.js:3:1: Expected" in message
    assert live_revision(skerry, "broken") == before
    assert skerry.get(url).text == "works"


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("no-import", 'import "./absent.js";\nexport default { fetch() {} };', "index.js:1:"),
        ("throws-at-load", "const a = 1;\nthrow new Error('no luck');\nexport default { fetch() {} };", "no luck"),
        ("no-handler", "export const x = 1;", "fetch"),
        ("npm-import", 'import "left-pad";\nexport default { fetch() {} };', "left-pad"),
    ],
)
def test_a_function_that_does_not_load_says_where_and_why(skerry: SkerryProcess, name: str, source: str, expected: str):
    skerry.apply(edge_function(name, source))
    reason = '--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=Failed'
    skerry.kubectl("wait", reason, f"ef/{name}", "--timeout=60s")
    condition = '{.status.conditions[?(@.type=="Ready")].message}'
    assert expected in skerry.kubectl("get", "ef", name, "-o", f"jsonpath={condition}")
    assert skerry.get(f"http://{name}.functions.localhost").status_code == 404


def test_applying_an_older_template_rolls_back_without_a_build(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("back", answering("one")))
    first = live_revision(skerry, "back")
    deploy(skerry, edge_function("back", answering("two")))
    assert skerry.get(url).text == "two"
    deploy(skerry, edge_function("back", answering("one")))
    assert live_revision(skerry, "back") == first
    assert skerry.get(url).text == "one"
    assert len(revisions_of(skerry, "back")) == 2


def revisions_of(skerry: SkerryProcess, name: str) -> list[str]:
    label = f"extensions.apoxy.dev/edgefunction={name}"
    return skerry.kubectl("get", "efr", "-l", label, "-o", "name").split()


def test_history_is_trimmed_to_its_limit_and_the_live_revision_stays(skerry: SkerryProcess):
    for turn in range(4):
        deploy(skerry, edge_function("history", answering(str(turn)), history_limit=2))
    live = live_revision(skerry, "history")
    until(lambda: len(revisions_of(skerry, "history")) == 2, "history is trimmed")
    assert f"edgefunctionrevision.extensions.apoxy.dev/{live}" in revisions_of(skerry, "history")


def test_deleting_a_function_removes_its_route_and_its_revisions(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("gone", answering("here")))
    assert skerry.get(url).status_code == 200
    skerry.kubectl("delete", "edgefunction", "gone")
    wait_for_status(skerry, url, 404)
    until(lambda: revisions_of(skerry, "gone") == [], "its revisions are removed")


def test_an_endless_loop_is_stopped_at_the_timeout_and_others_go_on(skerry: SkerryProcess):
    looping = deploy(skerry, edge_function("looping", "export default { fetch() { for (;;) {} } };", timeout="500ms"))
    fine = deploy(skerry, edge_function("fine", answering("fine")))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(skerry.get(looping)))
    thread.start()
    assert {skerry.get(fine).text for _ in range(20)} == {"fine"}
    thread.join()
    assert answers[0].status_code == 504
    assert answers[0].headers["x-skerry-error"] == "timeout"
    assert "error" in answers[0].json()


def test_an_uncaught_exception_answers_500_and_lands_in_the_log(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("throws", "export default { fetch() { throw new Error('oh dear'); } };"))
    answer = skerry.get(url)
    assert answer.status_code == 500
    assert answer.headers["x-skerry-error"] == "exception"
    assert skerry.get(url).status_code == 500
    told = skerry.skerry("logs", "throws")
    assert "oh dear" in told
    assert "at fetch (index.js:1:" in told


def test_a_trap_answers_500_and_the_next_request_gets_a_new_instance(skerry: SkerryProcess):
    source = """
    export default { fetch(request) {
      const all = [];
      if (new URL(request.url).pathname === "/hog") for (;;) all.push(new Uint8Array(1 << 24).fill(1));
      return new Response("alive");
    } };"""
    url = deploy(skerry, edge_function("hog", source))
    assert skerry.get(url).text == "alive"
    answer = skerry.get(f"{url}/hog")
    assert answer.status_code == 500
    assert answer.headers["x-skerry-error"] in {"memory", "trap", "exception"}
    assert skerry.get(url).text == "alive"


ECHO = (
    "export default { async fetch(r) { return new Response(await r.arrayBuffer(), {headers: {'x-was': r.method}}); } };"
)


def test_binary_and_big_bodies_go_both_ways_unchanged(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("echo", ECHO))
    for body in (bytes(range(256)), b"\xff" * 1024 * 1024, "жук".encode() * 100_000, b""):
        answer = skerry.request("POST", url, content=body)
        assert (answer.status_code, answer.content) == (200, body)
    assert skerry.request("PUT", url, content=b"x").headers["x-was"] == "PUT"


def test_a_body_over_the_limit_gets_413(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("limit", ECHO))
    assert skerry.request("POST", url, content=b"x" * (11 * 1024 * 1024)).status_code == 413
    assert skerry.request("POST", url, content=b"x").status_code == 200


def test_a_hundred_functions_at_once_all_answer(skerry: SkerryProcess):
    names = [f"many-{number}" for number in range(FUNCTIONS_AT_ONCE)]
    skerry.apply("\n---\n".join(edge_function(n, answering(n)) for n in names))
    for name in names:  # not by `kubectl wait`, which asks five times a second at most
        wait_for_status(skerry, f"http://{name}.functions.localhost", 200)
        assert skerry.get(f"http://{name}.functions.localhost").text == name
    skerry.kubectl("delete", "ef", *names, "--wait=false")


def test_console_output_can_be_read_through_the_log_subresource(skerry: SkerryProcess):
    source = "export default { fetch() { console.log('seen', {a: 1}); return new Response('ok'); } };"
    url = deploy(skerry, edge_function("talks", source))
    skerry.get(url)
    path = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/talks/log"
    assert "seen" in skerry.kubectl("get", "--raw", path)
    assert "seen" in skerry.skerry("logs", "talks", "--tail", "1")


def test_a_log_is_read_from_its_end_from_a_moment_on_and_as_it_grows(skerry: SkerryProcess):
    source = "export default { fetch(r) { console.log(new URL(r.url).pathname); return new Response('ok'); } };"
    url = deploy(skerry, edge_function("growing", source))
    path = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/growing/log"

    def told(lines: Iterable[str]) -> list[str]:
        return [json.loads(line)["message"] for line in lines]

    with skerry.api_client() as api:
        for said in ("/first", "/second"):
            skerry.get(f"{url}{said}")
            until(lambda said=said: said in told(api.get(path).text.splitlines()), f"{said} is in the log")  # type: ignore[misc]
        assert told(api.get(path, params={"tailLines": 1}).text.splitlines()) == ["/second"]
        assert told(api.get(path, params={"sinceSeconds": 3600}).text.splitlines()) == ["/first", "/second"]
        assert api.get(path, params={"sinceTime": "2999-01-01T00:00:00Z"}).text == ""
        with api.stream("GET", path, params={"follow": "true", "tailLines": 1}) as grows:
            lines = grows.iter_lines()
            assert told([next(lines)]) == ["/second"]
            skerry.get(f"{url}/third")
            assert told([next(lines)]) == ["/third"]
        refused = api.get(path, params={"sinceSeconds": 0})
        assert (refused.status_code, "sinceSeconds" in refused.json()["message"]) == (400, True)


def test_a_function_of_the_name_of_a_deleted_one_has_a_log_of_its_own(skerry: SkerryProcess):
    source = "export default { fetch(r) { console.log(new URL(r.url).pathname); return new Response('ok'); } };"
    path = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions/reborn/log"
    for said in ("/first", "/second"):
        url = deploy(skerry, edge_function("reborn", source))

        def is_told(url: str = url, said: str = said) -> bool:
            skerry.get(f"{url}{said}")  # for a second, a worker may still answer as the function before
            return said in skerry.kubectl("get", "--raw", path)

        until(is_told, f"{said} is in the log")
        assert "/first" not in skerry.kubectl("get", "--raw", path) or said == "/first"
        skerry.kubectl("delete", "edgefunction", "reborn")


def test_secrets_of_the_platform_do_not_reach_a_function(skerry: SkerryProcess):
    source = "export default { fetch(r, env) { return Response.json([Object.keys(env), [...r.headers.keys()]]); } };"
    url = deploy(skerry, edge_function("nosy", source))
    env, headers = skerry.get(url, headers={"x-skerry-revision": "another"}).json()
    assert env == ["KV"]  # the store of its own that every function has
    assert not [header for header in headers if header.startswith("x-skerry")]


def test_deploy_makes_a_function_from_a_folder(skerry: SkerryProcess, tmp_path: Path):
    folder = tmp_path / "shout"
    folder.mkdir()
    (folder / "index.ts").write_text('import { a } from "./lib";\nexport default { fetch: () => new Response(a) };')
    (folder / "lib.ts").write_text('export const a: string = "A";')
    assert "ready" in skerry.skerry("deploy", str(folder))
    assert skerry.get("http://shout.functions.localhost").text == "A"
    (folder / "lib.ts").write_text("export const a: string = ")
    assert "lib.ts:1:" in skerry.skerry("deploy", str(folder), fails=True)
    assert skerry.get("http://shout.functions.localhost").text == "A"


def test_binary_data_survives_base64_in_a_function(skerry: SkerryProcess):
    source = "export default { async fetch(r) { return new Response(btoa(await r.text())); } };"
    url = deploy(skerry, edge_function("encode", source))
    assert base64.b64decode(skerry.request("POST", url, content=b"hello").text) == b"hello"


def test_the_small_commands_do_what_kubectl_does(skerry: SkerryProcess):
    assert f"ready (pid {skerry.process.pid})" in skerry.skerry("status", "--wait")  # type: ignore[union-attr]
    assert "created" in skerry.skerry("apply", "-f", "-", stdin=edge_function("small", answering("small")))
    assert "unchanged" in skerry.skerry("apply", "-f", "-", stdin=edge_function("small", answering("small")))
    assert "configured" in skerry.skerry("apply", "-f", "-", stdin=edge_function("small", answering("smaller")))
    skerry.until_ready("edgefunction/small")
    assert "LIVE REVISION" in skerry.skerry("get", "ef", "small")
    assert json.loads(skerry.skerry("get", "ef", "small", "-o", "json"))["metadata"]["name"] == "small"
    assert "small" in skerry.skerry("get", "ef", "-o", "name")
    assert "deleted" in skerry.skerry("delete", "ef", "small")
    assert 'edgefunctions.extensions.apoxy.dev "small" not found' in skerry.skerry("delete", "ef", "small", fails=True)


def test_invoke_asks_through_the_gateway_and_its_exit_code_tells_the_status(skerry: SkerryProcess, tmp_path: Path):
    source = """export default { async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const status = Number(pathname.slice(1)) || 201;
      return new Response(`${request.method} ${search} ${request.headers.get("x-word")} ${await request.text()}`,
        { status, headers: { "x-made-by": "echo" } });
    } };"""
    deploy(skerry, edge_function("echo", source))
    (tmp_path / "body").write_text("from a file")
    given = ["--path", "/?q=1", "-H", "x-word: up", "--data", f"@{tmp_path / 'body'}", "-i"]
    told = skerry.skerry("invoke", "echo", *given)
    assert told.startswith("HTTP/1.1 201 Created\n")
    assert "x-made-by: echo\n" in told
    assert told.endswith("\n\nPOST ?q=1 up from a file")
    assert skerry.skerry("invoke", "echo", "-X", "PUT", "--data", "@-", stdin="typed") == "PUT  null typed"
    for path, code in (("/404", 4), ("/503", 5)):
        with pytest.raises(CommandFailedError, match=f"exit code {code}"):
            skerry.skerry("invoke", "echo", "--path", path)
    assert '"nobody" not found' in skerry.skerry("invoke", "nobody", fails=True)
    assert "must begin with /" in skerry.skerry("invoke", "echo", "--path", "x", fails=True)


def test_readiness_tells_of_each_part(skerry: SkerryProcess):
    told = skerry.kubectl("get", "--raw", "/readyz?verbose").splitlines()
    assert told == ["[+]database ok", "[+]envoy ok", "[+]workers ok", "readyz check passed"]


def test_a_change_of_mode_that_fails_leaves_the_old_revision_serving(skerry: SkerryProcess):
    manifest = edge_function("modal", answering("backend"))
    url = deploy(skerry, manifest)
    filtering = edge_function("modal", "export default { response() {} }")  # a filter needs a fetch
    skerry.apply(filtering.replace('"backend", "code"', '"filter", "code"'))
    reason = '--for=jsonpath={.status.conditions[?(@.type=="Latest")].reason}=Failed'
    skerry.kubectl("wait", reason, "ef/modal", "--timeout=60s")
    assert skerry.kubectl("get", "ef", "modal", "-o", "jsonpath={.spec.template.mode}") == "filter"
    assert skerry.get(url).text == "backend"


def test_the_live_revision_heals_when_it_is_deleted_by_hand(skerry: SkerryProcess):
    url = deploy(skerry, edge_function("healing", answering("healed")))
    revision = live_revision(skerry, "healing")
    uid = skerry.kubectl("get", "efr", revision, "-o", "jsonpath={.metadata.uid}")
    skerry.kubectl("delete", "efr", revision)
    skerry.kubectl("wait", "--for=create", f"efr/{revision}", "--timeout=30s")
    wait_for_status(skerry, url, 200)
    assert skerry.kubectl("get", "efr", revision, "-o", "jsonpath={.metadata.uid}") != uid


def test_kubectl_and_skerry_apply_can_take_turns(skerry: SkerryProcess):
    manifest = edge_function("turns", answering("turns"))
    assert "created" in skerry.skerry("apply", "-f", "-", stdin=manifest)
    told = skerry.kubectl("apply", "-f", "-", stdin=manifest)
    assert told == "edgefunction.extensions.apoxy.dev/turns unchanged\n", "no warning of a missing annotation either"
    assert "unchanged" in skerry.skerry("apply", "-f", "-", stdin=manifest)
