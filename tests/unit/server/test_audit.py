"""The audit log: what is recorded, what never is, and its bounds."""

import json
import ssl
import stat
from pathlib import Path
from typing import Any

import httpx

from skerry.kit.clock import SystemClock
from skerry.server.audit import Answered, AuditLog, AuditSettings
from skerry.server.audit_file import LOST
from skerry.server.auth import ANONYMOUS, TokenRecord, User, digest_of
from skerry.server.http import Request
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server
from skerry.testing.waiting import SECONDS_MAX

SECRETS = "/api/v1/namespaces/default/secrets"


def events(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def client(server: ApiServer, token: str) -> httpx.AsyncClient:
    trust = ssl.create_default_context(cafile=str(server.authority))
    return httpx.AsyncClient(
        base_url=server.at.url, verify=trust, headers={"authorization": f"Bearer {token}"}, timeout=SECONDS_MAX
    )


async def test_writes_and_refusals_are_told_and_no_secret_is(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    audit = AuditLog(AuditSettings(path), SystemClock())
    async with audit.running(), run_api_server(tmp_path / "server", ApiServerParts(audit=audit)) as server:
        async with client(server, server.token) as http:
            secret = {"metadata": {"name": "s"}, "stringData": {"password": "swordfish"}}
            as_admin = {"impersonate-user": "bob", "impersonate-group": "system:masters", "audit-id": "mine"}
            assert (await http.post(SECRETS, json=secret, headers=as_admin)).status_code == 201
            await http.get(f"{SECRETS}/s")
            await http.get("/healthz")
        async with client(server, "open-sesame") as http:
            assert (await http.get(SECRETS)).status_code == 401
        token = server.token
    (written,), (refused,) = events(path), events(tmp_path / "logs" / "audit-unauthorized.log")
    assert (written["auditID"], written["verb"], written["stage"]) == ("mine", "create", "ResponseComplete")
    assert written["objectRef"] == {
        "resource": "secrets",
        "namespace": "default",
        "name": "s",
        "apiVersion": "v1",
    }
    assert (written["user"]["username"], written["impersonatedUser"]["username"]) == ("admin", "bob")
    assert (written["responseStatus"]["code"], written["sourceIPs"]) == (201, ["127.0.0.1"])
    assert (refused["verb"], refused["responseStatus"]["code"]) == ("list", 401)
    assert refused["user"]["username"] == "system:anonymous"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(
        word in json.dumps([written, refused]) for word in ("swordfish", "c3dvcmRmaXNo", "open-sesame", token)
    )


def request(method: str = "POST", path: str = "/api/v1/namespaces", query: bytes = b"") -> Request:
    scope = {"method": method, "path": path, "query_string": query, "headers": []}

    async def receive() -> dict[str, Any]:
        raise AssertionError("no body is read")

    return Request(scope, receive, User("alice"))


def answered(clock: SystemClock, code: int = 200) -> Answered:
    return Answered("id", code, "ResponseComplete", clock.now())


async def test_decisions_are_told_with_their_reasons_and_generated_names(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = AuditLog(AuditSettings(path), SystemClock())
    alice = TokenRecord(digest_of("alice"), User("alice"))
    parts = ApiServerParts(audit=audit, tokens=(alice,))
    configs = "/api/v1/namespaces/default/configmaps"
    async with audit.running(), run_api_server(tmp_path / "server", parts) as server:
        subject = {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "ClusterRole", "name": "edit", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"metadata": {"name": "alice"}, "roleRef": role, "subjects": [subject]}
        bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
        async with client(server, "alice") as http:
            assert (await http.post(configs, json={"metadata": {"name": "c"}})).status_code == 403
        async with client(server, server.token) as admin:
            assert (await admin.post(bindings, json=binding)).status_code == 201
        async with client(server, "alice") as http:
            made = await http.post(configs, json={"metadata": {"generateName": "c-"}})
            assert made.status_code == 201
            assert (await http.post(configs, json={"metadata": {"name": "n" * 300}})).status_code == 422
    decided = [
        (event["annotations"]["authorization.k8s.io/decision"], event["objectRef"].get("name"))
        for event in events(path)
    ]
    assert decided == [
        ("forbid", None),
        ("allow", "alice"),
        ("allow", made.json()["metadata"]["name"]),
        ("allow", "n" * 253),
    ]
    assert "RoleBinding" in events(path)[2]["annotations"]["authorization.k8s.io/reason"]


async def test_install_tokens_are_not_told(tmp_path: Path) -> None:
    clock = SystemClock()
    audit = AuditLog(AuditSettings(tmp_path / "audit.log", reads=True), clock)
    async with audit.running():
        audit.record(request("GET", "/v1/init/agent.json", b"token=abc"), answered(clock))
        audit.record(request("GET", "/api/v1/namespaces", b"limit=1"), answered(clock))
    told = [event["requestURI"] for event in events(tmp_path / "audit.log")]
    assert told == ["/v1/init/agent.json", "/api/v1/namespaces?limit=1"]


async def test_what_machines_say_all_the_time_and_refused_strangers_push_nothing_out(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.log", SystemClock()
    audit = AuditLog(AuditSettings(path), clock)
    report, stranger, joined = request(), request(), request()
    report.is_routine = True
    stranger.user = joined.user = ANONYMOUS
    async with audit.running():
        for each, code in ((report, 200), (report, 403), (stranger, 400), (joined, 200)):
            audit.record(each, answered(clock, code))
    assert [event["responseStatus"]["code"] for event in events(path)] == [403, 200]
    assert [event["responseStatus"]["code"] for event in events(tmp_path / "audit-unauthorized.log")] == [400]


async def test_who_has_no_credential_pushes_nothing_out(tmp_path: Path) -> None:
    clock = SystemClock()
    for _ in range(5):
        settings = AuditSettings(tmp_path / "audit.log", file_bytes_max=1, files_max=2, queue_events_max=2)
        audit = AuditLog(settings, clock)
        async with audit.running():
            for _ in range(3):
                audit.record(request(), answered(clock, 401))
            audit.record(request(), answered(clock, 403))
    unauthorized = ["audit-unauthorized.log", "audit-unauthorized.log.1"]
    assert names_in(tmp_path) == [*unauthorized, "audit.log", "audit.log.1", "audit.log.2"]
    assert [len(events(tmp_path / name)) for name in unauthorized] == [2, 2]


async def test_reads_are_told_where_that_is_asked_for(tmp_path: Path) -> None:
    clock = SystemClock()
    audit = AuditLog(AuditSettings(tmp_path / "audit.log", reads=True), clock)
    async with audit.running():
        audit.record(request("GET"), answered(clock))
    assert [event["verb"] for event in events(tmp_path / "audit.log")] == ["list"]


async def test_what_does_not_fit_into_the_queue_is_counted(tmp_path: Path) -> None:
    clock, lost = SystemClock(), LOST.labels("queue_events_max")
    audit = AuditLog(AuditSettings(tmp_path / "audit.log", queue_events_max=2), clock)
    before = lost._value.get()
    async with audit.running():
        for _ in range(5):
            audit.record(request(), answered(clock))
    assert lost._value.get() == before + 3
    assert len(events(tmp_path / "audit.log")) == 2


async def test_full_files_are_put_aside_and_the_oldest_removed(tmp_path: Path) -> None:
    clock = SystemClock()
    for _ in range(5):
        audit = AuditLog(AuditSettings(tmp_path / "audit.log", file_bytes_max=1, files_max=2), clock)
        async with audit.running():
            audit.record(request(), answered(clock))
    names = names_in(tmp_path)
    assert names == ["audit.log", "audit.log.1", "audit.log.2"]
    assert all(len(events(tmp_path / name)) == 1 for name in names)


async def test_a_disk_that_takes_nothing_is_counted_and_hurts_no_request(tmp_path: Path) -> None:
    clock, lost = SystemClock(), LOST.labels("disk")
    (tmp_path / "audit.log").mkdir()
    before = lost._value.get()
    audit = AuditLog(AuditSettings(tmp_path / "audit.log"), clock)
    async with audit.running():
        audit.record(request(), answered(clock))
    assert lost._value.get() == before + 1
