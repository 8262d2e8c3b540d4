"""`kill -9` of any process at any moment: nothing acknowledged is lost, nothing needs a clean-up by hand."""

import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from skerry.testing.manifests import answering, edge_function
from skerry.testing.skerry_process import CommandFailedError, SkerryProcess
from skerry.testing.waiting import until


def processes() -> dict[int, tuple[int, str]]:
    """Return all processes, with their parents and command lines."""
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    listed = (line.split(None, 2) for line in listing.splitlines())
    return {int(number): (int(parent), command) for number, parent, command in listed}


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below one, with their command lines."""
    all_of_them, found = processes(), {pid}
    for _ in range(5):
        found |= {child for child, (parent, _) in all_of_them.items() if parent in found}
    return {child: all_of_them[child][1] for child in found - {pid}}


def has_ended(pid: int, command: str) -> bool:
    """Tell whether a process has; another one may have its number by now."""
    return processes().get(pid, (0, ""))[1] != command


@pytest.mark.parametrize("moment", ["idle", "building", "writing"])
def test_after_kill_9_every_acknowledged_object_is_there_and_serves(tmp_path: Path, cache_dir: Path, moment: str):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.apply(edge_function("kept", answering("kept")))
        skerry.until_ready("edgefunction/kept")
        acknowledged = ["kept"]
        if moment == "building":
            skerry.apply(edge_function("late", answering("late")))
            acknowledged.append("late")
        if moment == "writing":
            names = [f"w{number}" for number in range(40)]
            manifests = "\n".join(edge_function(name, answering(name)) for name in names)
            acknowledged += (
                skerry.kubectl("create", "-f", "-", "-o", "name", stdin=manifests)
                .replace("edgefunction.extensions.apoxy.dev/", "")
                .split()
            )
        assert skerry.process is not None
        children = descendants(skerry.process.pid)
        skerry.kill()
        skerry.start()
        for child in children.items():
            until(lambda child=child: has_ended(*child), f"{child} has ended")  # type: ignore[misc]
        for name in acknowledged:
            skerry.until_ready(f"edgefunction/{name}")
            assert skerry.get(f"http://{name}.functions.localhost").text == name
        assert skerry.stop() == 0
        assert not (tmp_path / "data" / "run.json").exists()


def workers_of(skerry: SkerryProcess) -> list[int]:
    assert skerry.process is not None
    return [pid for pid, command in descendants(skerry.process.pid).items() if "skerry.main.worker" in command]


#: Notes each POST, and answers none.
NOTING = """export default { async fetch(request, env) {
  const noted = Number(await env.KV.get("noted") ?? 0);
  if (request.method === "GET") return new Response(String(noted));
  await env.KV.put("noted", String(noted + 1));
  await new Promise(() => setTimeout(() => {}, 1e6));
} };"""


def test_idempotent_requests_survive_the_death_of_every_worker_and_no_other_is_begun_twice(
    tmp_path: Path, cache_dir: Path
):
    with (
        SkerryProcess.started(tmp_path / "data", "--workers", "2", cache_dir=cache_dir) as skerry,
        ThreadPoolExecutor(1) as threads,
    ):
        noting = "http://noting.functions.localhost"
        skerry.apply(edge_function("noting", NOTING))
        skerry.apply(edge_function("steady", answering("steady")))
        skerry.until_ready("edgefunction/steady", "edgefunction/noting")
        posted = threads.submit(skerry.request, "POST", noting)
        until(lambda: skerry.get(noting).text == "1")
        for _ in range(3):
            until(lambda: len(workers_of(skerry)) == 2, "both workers are there")
            for pid in workers_of(skerry):
                os.kill(pid, signal.SIGKILL)
            answers = [skerry.get("http://steady.functions.localhost") for _ in range(20)]
            assert {(answer.status_code, answer.text) for answer in answers} == {(200, "steady")}
        assert (posted.result().status_code, skerry.get(noting).text) == (503, "1")


def _envoys_of(skerry: SkerryProcess) -> list[int]:
    assert skerry.process is not None
    return [pid for pid, command in descendants(skerry.process.pid).items() if "envoy" in command.split()[0]]


def _is_answered(skerry: SkerryProcess, function: str) -> bool:
    """Tell whether a function answers, through Envoy, with its own name."""
    try:
        answer = skerry.get(f"http://{function}.functions.localhost")
    except httpx.TransportError:
        return False
    return (answer.status_code, answer.text) == (200, function)


def test_envoy_comes_back_with_its_configuration(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.apply(edge_function("back", answering("back")))
        skerry.until_ready("edgefunction/back")
        until(lambda: _is_answered(skerry, "back"), "the function answers")
        [envoy] = _envoys_of(skerry)
        os.kill(envoy, signal.SIGKILL)
        until(lambda: envoy not in _envoys_of(skerry), "Envoy has ended")
        until(lambda: _is_answered(skerry, "back"), "the function answers again")


def test_a_second_process_on_the_same_data_directory_is_refused(tmp_path: Path, cache_dir: Path):
    with (
        SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as first,
        pytest.raises(CommandFailedError, match="another skerry runs on the data directory"),
    ):
        SkerryProcess(tmp_path / "data").start()
    assert first.process is None


def test_a_port_that_is_taken_is_a_clear_error_and_nothing_is_left(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "first", cache_dir=cache_dir) as first:
        port = first.http.rpartition(":")[2].rstrip("/")
        second = SkerryProcess(tmp_path / "second", ("--http-address", f"127.0.0.1:{port}"))
        with pytest.raises(CommandFailedError, match=f"can't listen on 127.0.0.1:{port}"):
            second.start()
        assert second.process is not None
        assert second.process.returncode == 1
        assert not (tmp_path / "second" / "run.json").exists()


def test_sigterm_lets_requests_in_flight_end(tmp_path: Path, cache_dir: Path):
    source = """export default { async fetch() {
      console.log("begun");
      await new Promise((done) => setTimeout(done, 5000));
      return new Response("finished");
    } };"""
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.apply(edge_function("slow", source))
        skerry.until_ready("edgefunction/slow")
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(skerry.get("http://slow.functions.localhost")))
        thread.start()
        logs = tmp_path / "data" / "logs" / "functions"
        until(lambda: any(b"begun" in console.read_bytes() for console in logs.glob("slow.*.log")))
        assert skerry.stop() == 0
        thread.join()
        assert [answer.text for answer in answers] == ["finished"]


def test_a_lost_artifact_is_built_again_at_the_next_start(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.apply(edge_function("lost", answering("found")))
        skerry.until_ready("edgefunction/lost")
        assert skerry.stop() == 0
        shutil.rmtree(tmp_path / "data" / "artifacts")
        shutil.rmtree(tmp_path / "data" / "functions")
        skerry.start()
        until(lambda: skerry.get("http://lost.functions.localhost").status_code == 200, "it is built again")
        assert skerry.get("http://lost.functions.localhost").text == "found"


def test_one_address_for_both_listeners_is_refused(tmp_path: Path):
    skerry = SkerryProcess(tmp_path / "data")
    told = skerry.skerry("up", "--api-address", "127.0.0.1:9", "--http-address", "127.0.0.1:9", fails=True)
    assert told == "error: http_address: 127.0.0.1:9 is taken by api_address already\n"


def test_what_is_kept_is_private_even_where_the_directory_was_not(tmp_path: Path, cache_dir: Path):
    (tmp_path / "data").mkdir(mode=0o777)
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir) as skerry:
        skerry.apply(edge_function("private", answering("x"), env={"KEY": "value"}))
        skerry.until_ready("edgefunction/private")
        assert skerry.get("http://private.functions.localhost").text == "x"
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        open_to_others = [str(path) for path in files if path.stat().st_mode & 0o077]
        assert open_to_others == []


def test_a_start_after_a_stop_serves_what_was_there_before(tmp_path: Path, cache_dir: Path):
    with SkerryProcess.started(tmp_path / "data", cache_dir=cache_dir, anew=True) as skerry:
        skerry.apply(edge_function("kept", answering("kept")))
        skerry.until_ready("edgefunction/kept")
        assert skerry.stop() == 0
        skerry.start()
        assert skerry.get("http://kept.functions.localhost").text == "kept", "ready must mean that it serves"
