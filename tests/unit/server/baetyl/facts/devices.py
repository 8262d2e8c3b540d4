"""The rows of how devices join, and of what nodes ask for: products, records, activation, installing, sync, slices."""

from collections.abc import Iterator
from typing import Any

from skerry.fleet.reports import REPORT_BYTES_MAX
from tests.unit.server.baetyl.facts.rows import (
    DENIED,
    INVALID,
    LONG,
    NO_TOKEN,
    NOT_FOUND,
    NOT_READY,
    TOO_LARGE,
    Row,
    Step,
    absent,
    done,
    post,
    refused,
)

OPEN = {"name": "factory", "securityKey": "key", "enableWhitelist": 0}
PRODUCT = post("/v1/register", OPEN)
SHOWN = {"batchName": "factory", "namespace": "<ns>", "securityType": "Token", "securityValue": "key"}
PROOF = {**SHOWN, "fingerprintValue": "SN1"}
JOINED = post("/v1/active", PROOF, by="device", keep={"certificate": "certificate.cert"})
RECORD = post("/v1/register/factory/record", {"fingerprintValue": "SN1", "name": "press"})
NODE = post("/v1/nodes", {"name": "n1"})
CORE = Step(
    "CREATE",
    "Application",
    {
        "metadata": {"name": "baetyl-core", "labels": {"baetyl-cloud-system": "true"}},
        "spec": {"selector": "baetyl-node-name", "system": True},
    },
)
CALLBACK = Step("CREATE", "Callback", {"metadata": {"name": "erp"}, "spec": {"url": "http://169.254.169.254/"}})
FAR = {"key": "code", "value": {"type": "object", "source": "awss3", "bucket": "b", "object": "o"}}
FETCHING = {
    "name": "web",
    "selector": "baetyl-node-name",
    "services": [{"name": "web", "image": "nginx"}],
    "volumes": [{"name": "v", "config": {"name": "far"}}],
}
RECORDS = "/v1/register/factory/record"

#: What a product is not made with, and where that is told.
_PRODUCTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": "No Name"}, "metadata.name"),
    ({"name": LONG}, "metadata.name"),
    ({"quotaNum": -1}, "quotaNum"),
    ({"quotaNum": "3"}, "quotaNum"),
    ({"enableWhitelist": 2}, "enableWhitelist"),
    ({"fingerprint": {"type": 0}}, "fingerprint.type"),
    ({"fingerprint": {"type": 64}}, "fingerprint.type"),
    ({"fingerprint": {"snPath": "sn"}}, "snPath"),
    ({"securityType": "Cert"}, "securityType"),
    ({"labels": {"a": LONG}}, "63 characters"),
    ({"labels": {"a b": "c"}}, "metadata.labels"),
)
_RECORDS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"fingerprintValue": "a b"}, "fingerprintValue"),
    ({"fingerprintValue": LONG}, "fingerprintValue"),
    ({"fingerprintValue": 1}, "fingerprintValue"),
    ({"name": "a_b"}, "name"),
    ({"nodeName": "Node"}, "nodeName"),
)


def _products() -> Iterator[Row]:
    yield done("POST", "/v1/register", OPEN, name="factory", quotaNum=200, securityType="Token", fingerprint=...)
    yield refused("the name is taken", "POST", "/v1/register", OPEN, PRODUCT, code="ErrDatabase")
    yield absent("POST", "/v1/register", "callback", "erp", {"callbackName": "erp"})
    for body, message in _PRODUCTS:
        yield refused(f"{body}", "POST", "/v1/register", body, message=message)
        if not body.keys() & {"name", "enableWhitelist", "securityType"}:  # which do not change
            yield refused(f"{body}", "PUT", "/v1/register/factory", body, PRODUCT, message=message)
    yield done("GET", "/v1/register?pageNo=1&pageSize=5&name=fac", None, PRODUCT, total=1, pageNo=1, pageSize=5)
    yield refused("no role", "GET", "/v1/register", status=403, code=DENIED, by="nobody")
    yield done("GET", "/v1/register/factory", None, PRODUCT, name="factory", securityKey="key")
    yield done("PUT", "/v1/register/factory", {"quotaNum": 5}, PRODUCT, quotaNum=5)
    yield absent("PUT", "/v1/register/factory", "callback", "erp", {"callbackName": "erp"}, PRODUCT)
    yield done("DELETE", "/v1/register/factory", None, PRODUCT, success=True)
    yield refused(
        "it has records", "DELETE", "/v1/register/factory", None, PRODUCT, RECORD, code="ErrRegisterDeleteRecord"
    )
    yield done("GET", "/v1/register/factory/init", None, PRODUCT, cmd=...)
    yield refused(
        "no mode of those", "GET", "/v1/register/factory/init?mode=x", None, PRODUCT, message="kube or native"
    )
    for method in ("GET", "PUT", "DELETE"):
        yield absent(method, "/v1/register/ghost", "batch", "ghost", {} if method == "PUT" else None)
    yield absent("GET", "/v1/register/ghost/init", "batch", "ghost")


def _records() -> Iterator[Row]:
    yield done("POST", RECORDS, RECORD.body, PRODUCT, name="press", fingerprintValue="SN1", nodeName="sn1", active=0)
    for body in ({"fingerprintValue": "SN1"}, {"fingerprintValue": "sn1"}, {"name": "press", "fingerprintValue": "S2"}):
        yield refused(f"{body} is taken", "POST", RECORDS, body, PRODUCT, RECORD, code="ErrDatabase")
    for body, message in _RECORDS:
        yield refused(f"{body}", "POST", RECORDS, body, PRODUCT, message=message)
    few = post("/v1/register", {**OPEN, "quotaNum": 1})
    yield refused("beyond the quota", "POST", RECORDS, {}, few, RECORD, code="ErrRegisterQuotaNumOut", message="(1)")
    yield done("GET", RECORDS, None, PRODUCT, RECORD, total=1, items=...)
    yield done("GET", f"{RECORDS}/press", None, PRODUCT, RECORD, name="press", activeIp="0.0.0.0")  # noqa: S104 - told, not bound
    yield done("PUT", f"{RECORDS}/press", {"nodeName": "n2"}, PRODUCT, RECORD, nodeName="n2")
    yield refused("no name", "PUT", f"{RECORDS}/press", {"nodeName": "N 2"}, PRODUCT, RECORD, message="nodeName")
    yield done("DELETE", f"{RECORDS}/press", None, PRODUCT, RECORD, success=True)
    code = "ErrRegisterRecordActivated"
    yield refused("it has joined", "DELETE", f"{RECORDS}/press", None, PRODUCT, RECORD, JOINED, code=code)
    yield done("POST", "/v1/register/factory/generate", {"num": 3}, PRODUCT, total=3, items=...)
    for num, code in ((0, INVALID), (-1, INVALID), ("x", INVALID), (201, "ErrRegisterQuotaNumOut"), (1 << 40, INVALID)):
        yield refused(f"num {num}", "POST", "/v1/register/factory/generate", {"num": num}, PRODUCT, code=code)
    yield done("GET", "/v1/register/factory/download", None, PRODUCT, RECORD)
    for method, sent in (("GET", None), ("PUT", {}), ("DELETE", None)):
        yield absent(method, f"{RECORDS}/ghost", "record", "ghost", sent, PRODUCT)
        yield absent(method, "/v1/register/ghost/record/press", "batch", "ghost", sent)
    for method, part, sent in (("POST", "record", {}), ("GET", "record", None), ("GET", "download", None)):
        yield absent(method, f"/v1/register/ghost/{part}", "batch", "ghost", sent)
    yield absent("POST", "/v1/register/ghost/generate", "batch", "ghost", {"num": 1})


def _activation() -> Iterator[Row]:
    def no(fact: str, body: Any, *given: Step, status: int = 400, code: str = INVALID, message: str = "") -> Row:
        told = {"status": status, "code": code, "message": message}
        return refused(fact, "POST", "/v1/active", body, *given, by="device", **told)  # type: ignore[arg-type]

    yield done("POST", "/v1/active", PROOF, PRODUCT, by="device", nodeName="sn1", certificate=...)
    yield done("POST", "/v1/active", PROOF, PRODUCT, JOINED, by="device", nodeName="sn1")
    yield no("no product", PROOF, status=404, code=NOT_FOUND, message="The (batch) resource (factory)")
    yield no("another security", {**PROOF, "securityType": "None"}, PRODUCT, message="SecurityType error")
    yield no("another key", {**PROOF, "securityValue": "KEY"}, PRODUCT, message="SecurityValue error")
    listed = post("/v1/register", {**OPEN, "enableWhitelist": 1})
    yield no("not on the list", PROOF, listed, status=404, code=NOT_FOUND, message="The (record) resource (sn1)")
    yield no("beyond the quota", PROOF, post("/v1/register", {**OPEN, "quotaNum": 0}), code="ErrRegisterQuotaNumOut")
    yield no("no fingerprint", {**PROOF, "fingerprintValue": "a b"}, PRODUCT, message="fingerprintValue")
    yield no("another's node", {**PROOF, "fingerprintValue": "n1"}, PRODUCT, NODE, message="there is a node n1 already")
    called = post("/v1/register", {**OPEN, "callbackName": "erp"})
    yield no("the callback fails", PROOF, CALLBACK, called, code="ErrThirdServer", message="no address")
    for fact, body, code in (("no JSON", b"{", INVALID), ("too large", b" " * 70_000, TOO_LARGE)):
        yield no(fact, body, code=code)


def _installing() -> Iterator[Row]:
    command = Step("GET", "/v1/nodes/n1/init", keep={"token": "cmd~token=([^'&]+)"})
    once = Step("GET", "/v1/nodes/n1/init?once=true", keep={"token": "cmd~token=([^'&]+)"})
    for prefix in ("/v1/active", "/v1/init"):
        for name in ("setup.sh", "baetyl-install.sh", "skerry-runtime.tar.gz", "agent.json"):
            yield done("GET", f"{prefix}/{name}?token=<token>", None, NODE, command, by="device")
        nothing = {"status": 404, "code": NOT_FOUND, "by": "device"}
        yield refused("no resource", "GET", f"{prefix}/x.yml?token=<token>", None, NODE, command, **nothing)  # type: ignore[arg-type]
        for token in ("", "short", "0123456789" + "7b7d", "é"):
            path = f"{prefix}/setup.sh?token={token}"
            yield refused(f"the token {token}", "GET", path, code=NO_TOKEN, message="The token is invalid", by="device")
    used = Step("GET", "/v1/init/agent.json?token=<token>", by="device")
    path = "/v1/init/agent.json?token=<token>"
    yield refused(
        "a token that was used", "GET", path, None, NODE, once, used, code=NO_TOKEN, message="used already", by="device"
    )
    gone = Step("DELETE", "/v1/nodes/n1")
    yield refused("its node is gone", "GET", path, None, NODE, command, gone, status=404, code=NOT_FOUND, by="device")
    yield refused("no file's URL", "GET", "/v1/init/object?digest=a&expires=1&mac=b", code=NO_TOKEN, by="device")


def _sync() -> Iterator[Row]:
    report = {"node": {"hostname": "h"}, "apps": [], "sysapps": []}
    joined = (CORE, PRODUCT, JOINED)
    yield done("POST", "/v1/sync/report", report, *joined, by="node", sysapps=...)
    yield refused("nothing for it", "POST", "/v1/sync/report", report, PRODUCT, JOINED, code=NOT_READY, by="node")
    asked = {"infos": [{"kind": "application", "name": "baetyl-core", "version": ""}]}
    yield done("POST", "/v1/sync/desire", asked, *joined, by="node", values=...)
    missing = {"infos": [*asked["infos"], {"kind": "config", "name": "ghost", "version": "1"}]}
    yield refused("one is missing", "POST", "/v1/sync/desire", missing, *joined, status=404, code=NOT_FOUND, by="node")
    asked = {"infos": [{"kind": "config", "name": "far", "version": ""}]}
    far = (post("/v1/configs", {"name": "far", "data": [FAR]}), post("/v1/apps", FETCHING))
    code = "ErrObjectOperationException"
    yield refused("its object has no URL", "POST", "/v1/sync/desire", asked, *joined, *far, code=code, by="node")
    other = {"infos": [{"kind": "pod", "name": "x", "version": "1"}]}
    yield refused("no kind of those", "POST", "/v1/sync/desire", other, *joined, message="infos", by="node")
    yield done("POST", "/v1/sync/certificate", {}, *joined, by="node", cert=...)
    for path in ("report", "desire"):
        where = f"/v1/sync/{path}"
        yield refused("no JSON", "POST", where, b"{", *joined, by="node")
        too_much = {"status": 413, "code": TOO_LARGE, "by": "node"}
        yield refused("too large", "POST", where, b" " * (REPORT_BYTES_MAX + 1), *joined, **too_much)  # type: ignore[arg-type]
        deep = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
        yield refused("too deep", "POST", where, deep, *joined, by="node")
    for method, path in (("POST", "report"), ("POST", "desire"), ("POST", "certificate")):
        yield refused("no certificate", method, f"/v1/sync/{path}", {}, status=401, code=DENIED, by="device")
    revoked = post("/v1/nodes/sn1/revoke")
    yield refused(
        "it is revoked", "POST", "/v1/sync/report", report, *joined, revoked, status=401, code=DENIED, by="node"
    )
    gone = Step("DELETE", "/v1/nodes/sn1")
    yield refused("it is gone", "POST", "/v1/sync/report", report, *joined, gone, status=401, code=DENIED, by="node")
    yield refused("no handshake", "GET", "/v1/sync", None, *joined, message="WebSocket", by="node")


def _slices() -> Iterator[Row]:
    for method, path in (
        ("POST", "/v1/slice"),
        ("GET", "/v1/slice/artifacts/sha256:00"),
        ("POST", "/v1/slice/statuses"),
    ):
        yield refused("no certificate", method, path, None, status=401, code=DENIED, by="device")
    yield refused("no JSON", "POST", "/v1/slice/statuses", b"{", CORE, PRODUCT, JOINED, by="node")
    yield refused("no JSON", "POST", "/v1/slice", b"{", CORE, PRODUCT, JOINED, by="node")


ROWS = (*_products(), *_records(), *_activation(), *_installing(), *_sync(), *_slices())
