"""What deploy/ promises, without its containers: keys made beforehand, replicas started at once, its Envoy in front."""

import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from skerry.gateway.envoy import find_envoy
from skerry.testing.deployed import DEPLOY
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.skerry_process import SkerryProcess

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
#: What the Secret on Kubernetes holds, and no more.
PKI = ("ca.crt", "ca.key", "sa.key", "tokens.json", "encryption-keys.json")
NAMES = 'api_names = ["envoy"]\n'
#: Which name the certificate has to have.
BY_NAME = {"sni_hostname": "envoy"}
STATE_SECONDS_MAX = 90.0


@contextmanager
def started_at_once(folder: Path, identity: Path, database: str, cache_dir: Path) -> Iterator[list[SkerryProcess]]:
    """Run two replicas on an empty database, with copies of the keys; neither waits for the other."""
    for name in "ab":
        (folder / name / "pki").mkdir(parents=True)
        for file in PKI:
            shutil.copy(identity / "pki" / file, folder / name / "pki" / file)
        shutil.copy(identity / "kubeconfig", folder / name / "kubeconfig")
    options: dict[str, Any] = {"cache_dir": cache_dir, "settings": NAMES, "command": "serve"}
    starts = [SkerryProcess.started(folder / name, "--database", database, **options) for name in "ab"]
    with ExitStack() as stack, ThreadPoolExecutor(len(starts)) as threads:
        starting = [threads.submit(start.__enter__) for start in starts]
        for start in starts:
            stack.push(start.__exit__)
        yield [started.result() for started in starting]


@contextmanager
def balanced(folder: Path, replicas: list[SkerryProcess]) -> Iterator[str]:
    """Run an Envoy with the configuration of deploy/ in front, on a free port; yields its URL."""
    config = yaml.safe_load((DEPLOY / "compose" / "envoy.yaml").read_text())
    free = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    [listener], [cluster] = config["static_resources"]["listeners"], config["static_resources"]["clusters"]
    config["admin"] = {"address": free}
    listener["address"] = free
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [endpoint(replica) for replica in replicas]}]
    (folder / "envoy.yaml").write_text(yaml.safe_dump(config))
    admin = folder / "admin"
    command = [str(find_envoy()), "--config-path", str(folder / "envoy.yaml"), "--admin-address-path", str(admin)]
    with (
        (folder / "envoy.log").open("wb") as log,
        subprocess.Popen([*command, "--use-dynamic-base-id"], stdout=log, stderr=log) as process,
    ):
        try:
            yield listening(process, admin)
        finally:
            process.terminate()


def endpoint(replica: SkerryProcess) -> dict[str, Any]:
    at = urlsplit(replica.api)
    return {"endpoint": {"address": {"socket_address": {"address": at.hostname, "port_value": at.port}}}}


def listening(process: subprocess.Popen[bytes], admin: Path) -> str:
    """Wait until Envoy is live, and return where it listens."""
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired, httpx.TransportError):
            if admin.exists() and httpx.get(f"http://{admin.read_text()}/ready").status_code == 200:
                listeners = httpx.get(f"http://{admin.read_text()}/listeners?format=json").json()
                [listener] = listeners["listener_statuses"]
                return f"https://127.0.0.1:{listener['local_address']['socket_address']['port_value']}"
            raise AssertionError(f"Envoy ended with {process.wait(0.1)}")
    raise AssertionError(f"Envoy was not live within {STATE_SECONDS_MAX} s")


def client_of(replica: SkerryProcess, url: str) -> httpx.Client:
    """Return an administrator's client for a URL; it trusts what that replica does."""
    kubeconfig = yaml.safe_load((replica.data_dir / "kubeconfig").read_text())
    authority = (replica.data_dir / "pki" / "ca.crt").read_text()
    return httpx.Client(
        base_url=url,
        verify=ssl.create_default_context(cadata=authority),
        headers={
            "Authorization": f"Bearer {kubeconfig['users'][0]['user']['token']}",
            # A connection of its own each time, as another client has it: the balancer chooses anew.
            "Connection": "close",
        },
        timeout=STATE_SECONDS_MAX,
    )


def until_answered(client: httpx.Client, method: str, path: str, json: Any = None) -> httpx.Response:
    """Ask until there is an answer: Envoy has to see which replicas are well, and on a busy one none may seem so."""
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while True:
        try:
            return client.request(method, path, json=json, extensions=BY_NAME)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise


@pytest.mark.timeout(600)
def test_replicas_with_keys_made_beforehand_answer_by_the_name_of_the_load_balancer(
    tmp_path: Path, cache_dir: Path, postgres: PostgresProcess
):
    identity = tmp_path / "identity"
    subprocess.run([sys.executable, "-m", "skerry", "pki", "init", "--data-dir", str(identity)], check=True)
    database = postgres.create_schema()
    with (
        started_at_once(tmp_path, identity, database, cache_dir) as replicas,
        balanced(tmp_path, replicas) as url,
        client_of(replicas[0], url) as client,
    ):
        answer = until_answered(client, "POST", CONFIG_MAPS, {"metadata": {"name": "kept"}})
        assert answer.status_code in {201, 409}, answer.text  # 409: of a request whose answer was lost
        replicas[0].kill()
        assert until_answered(client, "GET", f"{CONFIG_MAPS}/kept").json()["metadata"]["name"] == "kept"
