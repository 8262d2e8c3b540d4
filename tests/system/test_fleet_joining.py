"""Devices join a running control plane: by the install command, and by activation; over TLS that both sides check."""

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from skerry.agent.member.settings import Users
from skerry.kit.clock import SystemClock
from skerry.server.auth import BAETYL_NODES
from skerry.server.client_certificates import issue_client_certificate
from skerry.server.tls import open_authority
from skerry.testing.passable import passable_folder
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

INSTALL_SECONDS_MAX = 240
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
REPORT = {"node": {"hostname": "host1"}, "apps": [], "sysapps": []}


@pytest.fixture(scope="module")
def skerry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkerryProcess]:
    """A control plane alone."""
    with SkerryProcess.started(tmp_path_factory.mktemp("fleet") / "data", command="serve") as running:
        yield running


@pytest.fixture
def admin(skerry: SkerryProcess) -> Iterator[httpx.Client]:
    with skerry.api_client() as http:
        yield http


def ask(http: httpx.Client, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def mutual(skerry: SkerryProcess, folder: Path, given: dict[str, str]) -> httpx.Client:
    """Return a client that shows a certificate, and trusts who is given with it."""
    shown = folder / "client.pem"
    shown.write_text(given["cert"] + given["key"])
    trust = ssl.create_default_context(cadata=given["ca"])
    trust.load_cert_chain(shown)
    return httpx.Client(base_url=skerry.api, verify=trust, trust_env=False, timeout=60)


@pytest.fixture
def home() -> Iterator[Path]:
    """Where a device is installed: for root, programs that are other users' come there, too."""
    with passable_folder() as folder:
        yield folder / "device"


@needs_curl
def test_a_device_is_installed_by_one_command_and_run_twice_it_is_the_same_with_one_program(
    admin: httpx.Client, home: Path, tmp_path: Path
):
    ask(admin, "POST", "/v1/nodes", {"name": "n1"})
    service = {"name": "main", "command": ["id", "-u"]}
    job = {"name": "who", "mode": "native", "workload": "job", "selector": "baetyl-node-name=n1", "services": [service]}
    ask(admin, "POST", "/v1/apps", job)
    said = home / "data" / "logs" / "who" / "main-0.log"
    where = {"SKERRY_HOME": str(home), "HOME": str(tmp_path), "PYTHON": sys.executable, "PYTHONPATH": ""}
    environment = {**os.environ, **where, "SKERRY_START": "background"}
    (home / "runtime" / "older" / "lib").mkdir(parents=True)  # of a control plane before this one
    for _ in range(2):
        command = ask(admin, "GET", "/v1/nodes/n1/init")["cmd"]
        try:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_SECONDS_MAX,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert "the agent runs" in done.stdout
            until(lambda: is_its_agent_that_reports(admin, home), "the agent that was started has reported")
            until(lambda: said.exists() and said.read_text().endswith("\n"), "its program has run")
            own = os.geteuid() or Users().first  # root's programs are another's
            assert set(said.read_text().split()) == {str(own)}
        finally:
            end_agent(home)
    assert stat.S_IMODE((home / "agent.json").stat().st_mode) == 0o600
    assert len(list((home / "runtime").iterdir())) == 1
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    told = subprocess.run([home / "bin" / "skerry", "--help"], env=alone, capture_output=True, text=True, check=True)
    assert "Skerry" in told.stdout
    shutil.rmtree(home / "runtime")


def is_its_agent_that_reports(admin: httpx.Client, home: Path) -> bool:
    """Tell whether the agent that was installed runs, and has been heard of."""
    status = home / "data" / "status.json"
    told = json.loads(status.read_text()) if status.exists() else {}
    pid = int((home / "agent.pid").read_text())
    assert Path(f"/proc/{pid}").exists(), (home / "agent.log").read_text()
    return told.get("pid") == pid and bool(told["reportedAt"]) and bool(ask(admin, "GET", "/v1/nodes/n1")["ready"])


def end_agent(home: Path) -> None:
    """End what the script started."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((home / "agent.pid").read_text()), signal.SIGKILL)


@needs_curl
def test_a_command_believes_no_server_but_the_one_that_it_names(admin: httpx.Client, tmp_path: Path):
    ask(admin, "POST", "/v1/nodes", {"name": "n2"})
    command = ask(admin, "GET", "/v1/nodes/n2/init")["cmd"]
    pin = command.split("sha256//")[1][:10]
    other = command.replace(pin, "A" * 10).replace("sh setup.sh", "true")
    done = subprocess.run(["sh", "-c", other], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 90  # curl: the pinned public key does not match
    assert not (tmp_path / "setup.sh").exists()


def test_a_device_joins_reports_and_is_locked_out_when_it_is_revoked(
    skerry: SkerryProcess, admin: httpx.Client, tmp_path: Path
):
    ask(admin, "POST", "/v1/register", {"name": "factory", "securityKey": "key", "labels": {"site": "lyon"}})
    (serial,) = ask(admin, "POST", "/v1/register/factory/generate", {"num": 1})["items"]
    shown = {"batchName": "factory", "securityType": "Token", "securityValue": "key", "fingerprintValue": serial}
    with httpx.Client(base_url=skerry.api, verify=admin_trust(skerry), trust_env=False, timeout=60) as device:
        joined = ask(device, "POST", "/v1/active", shown)
        assert device.post("/v1/sync/report", json=REPORT).status_code == 401
    assert joined["nodeName"] == serial
    with mutual(skerry, tmp_path, joined["certificate"]) as node:
        delta = until_ready(node)
        assert [each["name"] for each in delta["sysapps"]] == ["baetyl-core"]
        assert "lyon" in skerry.kubectl("get", "nodes.cloud.baetyl.io", "-L", "site", serial)
        ask(admin, "POST", f"/v1/nodes/{serial}/revoke")
        assert node.post("/v1/sync/report", json=REPORT).status_code == 401


def until_ready(node: httpx.Client) -> Any:
    """Report until the part of Baetyl that every node runs is made."""
    deadline = SystemClock().monotonic_seconds() + 60
    while (answer := node.post("/v1/sync/report", json=REPORT)).status_code == 400:
        assert answer.json()["code"] == "ErrNodeNotReady"
        assert SystemClock().monotonic_seconds() < deadline
    assert answer.status_code == 200, answer.text
    return answer.json()


def admin_trust(skerry: SkerryProcess) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(skerry.data_dir / "pki" / "ca.crt"))


def test_an_install_command_for_one_device_serves_one(skerry: SkerryProcess, admin: httpx.Client):
    ask(admin, "POST", "/v1/nodes", {"name": "n4"})
    token = ask(admin, "GET", "/v1/nodes/n4/init?once=true")["cmd"].split("token=")[1].split("'")[0].split("&")[0]
    with httpx.Client(base_url=skerry.api, verify=admin_trust(skerry), trust_env=False, timeout=60) as device:
        first = ask(device, "GET", f"/v1/init/agent.json?token={token}")
        assert first["node"]["name"] == "n4"
        assert ask(device, "GET", f"/v1/init/agent.json?token={token}", status=400)["code"] == "ErrInvalidToken"


def test_a_certificate_that_names_no_node_of_ours_reports_for_nobody(
    skerry: SkerryProcess, admin: httpx.Client, tmp_path: Path
):
    ask(admin, "POST", "/v1/nodes", {"name": "n5"})
    clock = SystemClock()
    now = clock.now()
    authority = open_authority(skerry.data_dir / "pki", clock)
    for number, name in enumerate(("default.nobody", "default", "n5", "other.n5", "default.n5")):
        folder = tmp_path / str(number)
        folder.mkdir()
        life = now, now + dt.timedelta(days=1)
        certificate, key = issue_client_certificate(authority, name, [BAETYL_NODES], life)
        given = {"ca": authority.pem.decode(), "cert": certificate.decode(), "key": key.decode()}
        with mutual(skerry, folder, given) as http:
            # Nor does the right name do: it is not the certificate that this very node was given.
            assert http.post("/v1/sync/report", json=REPORT).status_code == 401, name


def test_a_certificate_of_another_authority_or_one_that_has_ended_does_not_get_through(
    skerry: SkerryProcess, admin: httpx.Client, tmp_path: Path
):
    ask(admin, "POST", "/v1/nodes", {"name": "n3"})
    clock, ours = SystemClock(), (skerry.data_dir / "pki" / "ca.crt").read_text()
    now = clock.now()
    lives = {"foreign": (now, now + dt.timedelta(days=365)), "ended": (now - dt.timedelta(days=365), now)}
    for which, life in lives.items():
        folder = tmp_path / which
        folder.mkdir()
        signer = open_authority(folder / "pki" if which == "foreign" else skerry.data_dir / "pki", clock)
        certificate, key = issue_client_certificate(signer, "default.n3", [BAETYL_NODES], life)
        given = {"ca": ours, "cert": certificate.decode(), "key": key.decode()}
        with mutual(skerry, folder, given) as http, pytest.raises(httpx.HTTPError):
            http.post("/v1/sync/report", json=REPORT)


def certificate_of(skerry: SkerryProcess, admin: httpx.Client, name: str) -> dict[str, str]:
    """Make a node, and return what its agent would be given."""
    ask(admin, "POST", "/v1/nodes", {"name": name})
    token = ask(admin, "GET", f"/v1/nodes/{name}/init")["cmd"].split("token=")[1].split("'")[0]
    with httpx.Client(base_url=skerry.api, verify=admin_trust(skerry), trust_env=False, timeout=60) as device:
        given: dict[str, str] = ask(device, "GET", f"/v1/init/agent.json?token={token}")["node"]["certificate"]
    return given


def test_a_report_of_50_mb_is_refused_before_it_is_sent_and_the_node_goes_on(
    skerry: SkerryProcess, admin: httpx.Client, tmp_path: Path
):
    given = certificate_of(skerry, admin, "n6")
    with mutual(skerry, tmp_path, given) as node:
        before = until_ready(node)
        length = 50 * 1024 * 1024
        for head, chunk in (
            (f"Content-Length: {length}", b"x" * 65_536),
            ("Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        ):
            answer = sent_until_answered(skerry, tmp_path / "client.pem", head, [chunk] * (length // 65_536))
            assert answer.startswith(b"HTTP/1.1 413 "), answer
            assert b'"code":"ErrDataTooLarge"' in answer
        assert node.post("/v1/sync/report", json=REPORT).json() == before


def sent_until_answered(skerry: SkerryProcess, certificate: Path, head: str, parts: list[bytes]) -> bytes:
    """Send a report in parts, no further than until an answer comes; return that."""
    trust, at = admin_trust(skerry), urlsplit(skerry.api)
    trust.load_cert_chain(certificate)
    with (
        socket.create_connection((str(at.hostname), int(at.port or 0)), timeout=60) as plain,
        trust.wrap_socket(plain, server_hostname=at.hostname) as tls,
    ):
        tls.sendall(f"POST /v1/sync/report HTTP/1.1\r\nHost: {at.netloc}\r\n{head}\r\n\r\n".encode())
        answer = b""
        for part in parts:
            if answer := arrived(tls):
                break
            tls.sendall(part)
        while b"}" not in answer:
            more = tls.recv(65_536)
            assert more, f"the answer ended early: {answer!r}"
            answer += more
        return answer


def arrived(tls: ssl.SSLSocket) -> bytes:
    """Return what there is to be read, without waiting for it."""
    tls.settimeout(0)
    try:
        return tls.recv(65_536)
    except ssl.SSLWantReadError:
        return b""
    finally:
        tls.settimeout(60)
