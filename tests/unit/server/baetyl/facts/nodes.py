"""The rows of nodes."""

from collections.abc import Iterator
from typing import Any

from tests.unit.server.baetyl.facts.rows import (
    DENIED,
    INVALID,
    LONG,
    NO_ROUTE,
    NOT_FOUND,
    Row,
    Step,
    absent,
    done,
    post,
    refused,
)

NODE = post("/v1/nodes", {"name": "n1", "labels": {"site": "lyon"}})
APP = post("/v1/apps", {"name": "web", "selector": "site=lyon", "services": [{"name": "web", "image": "nginx"}]})
PLAN = {"application": "web", "target": "web-2", "paused": True, "groups": []}
ROLLOUT = Step("CREATE", "Rollout", {"metadata": {"name": "to-2"}, "spec": PLAN})

#: What a node is not made with.
_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "the label's value is too long": ({"labels": {"site": LONG}}, "63 characters"),
    "the label's key is too long": ({"labels": {LONG: "lyon"}}, "metadata.labels"),
    "no label's key": ({"labels": {"a b": "x"}}, "metadata.labels"),
    "no accelerator of those": ({"accelerator": "abacus"}, "spec.accelerator"),
    "no system application of those": ({"sysApps": ["baetyl-core"]}, "spec.sysApps[0]"),
    "no mode of those": ({"nodeMode": "desktop"}, "nodeMode"),
}
_QUERIES = {
    "no selector": "selector=a in (",
    "a selector's value is too long": f"selector=a={LONG}",
    "no field to select by": "fieldSelector=colour=red",
    "no token of a page": "continue=x",
    "no order": "createSort=up",
    "no readiness": "ready=1",
    "no kind of cluster": "cluster=half",
}


def _creating() -> Iterator[Row]:
    yield done(
        "POST", "/v1/nodes", NODE.body, name="n1", ready=False, labels={"site": "lyon", "baetyl-node-name": "n1"}
    )
    yield refused("the name is taken", "POST", "/v1/nodes", {"name": "n1"}, NODE, message="this name is already in use")
    yield refused("no name", "POST", "/v1/nodes", {}, message="name is required")
    for name in ("UPPER", LONG, "x"):
        yield refused(f"{name} is no name", "POST", "/v1/nodes", {"name": name}, message="metadata.name")
    yield refused("a name that is no text", "POST", "/v1/nodes", {"name": 7}, message="name")
    for fact, (body, message) in _WRONG.items():
        yield refused(fact, "POST", "/v1/nodes", {"name": "n1", **body}, message=message)


def _listing() -> Iterator[Row]:
    yield done("GET", "/v1/nodes?selector=site in (lyon, oslo)", None, NODE, total=1, items=...)
    for fact, query in _QUERIES.items():
        yield refused(fact, "GET", f"/v1/nodes?{query}")
    yield done("PUT", "/v1/nodes?batch", {"names": ["n1", "stranger"]}, NODE, total=1)
    yield refused("batch is not asked for", "PUT", "/v1/nodes", {"names": []}, message="batch")
    yield refused("too many names", "PUT", "/v1/nodes?batch", {"names": ["n"] * 21}, message="20")
    yield refused("wrong method", "DELETE", "/v1/nodes", status=404, code=NO_ROUTE)
    yield refused("no route", "GET", "/v1/nodes/n1/nothing", status=404, code=NO_ROUTE)


def _one() -> Iterator[Row]:
    yield done("GET", "/v1/nodes/n1", None, NODE, name="n1", version=...)
    yield done("PUT", "/v1/nodes/n1", {"description": "a box"}, NODE, description="a box", labels=...)
    yield refused("the label's value is too long", "PUT", "/v1/nodes/n1", {"labels": {"a": LONG}}, NODE)
    yield done("DELETE", "/v1/nodes/n1", None, NODE, success=True)
    yield done("GET", "/v1/nodes/n1/stats", None, NODE, name="n1", ready=False)
    yield done("GET", "/v1/nodes/n1/apps", None, NODE, APP, total=1, listOptions=None)
    yield done("GET", "/v1/nodes/n1/deploys", None, NODE, success=True)
    yield done("GET", "/v1/nodes/n1/functions", None, NODE, functions=[])
    yield done("GET", "/v1/nodes/n1/init", None, NODE, cmd=...)
    yield refused("no mode of those", "GET", "/v1/nodes/n1/init?mode=desktop", None, NODE, message="kube or native")
    yield done("POST", "/v1/nodes/n1/revoke", None, NODE, success=True)
    yield done("PUT", "/v1/nodes/n1/mode", {"mode": "local"}, NODE, success=True)
    yield refused("no mode of those", "PUT", "/v1/nodes/n1/mode", {"mode": "chaos"}, NODE, message="mode")
    desire = {"state": {"desire": {"lamp": "on"}}}
    yield done("PUT", "/v1/nodes/n1/properties", desire, NODE, state={"report": {}, "desire": {"lamp": "on"}})
    yield done("GET", "/v1/nodes/n1/properties", None, NODE, state=..., metadata=...)
    wrong = {"state": {"desire": {"lamp": 1}}}
    yield refused("a property that is no text", "PUT", "/v1/nodes/n1/properties", wrong, NODE, message="lamp")


def _core() -> Iterator[Row]:
    path = "/v1/nodes/n1/core/configs"
    yield done("GET", path, None, NODE, frequency=20)
    yield done("PUT", path, {"version": "v2.4.3", "frequency": 5}, NODE, frequency=5, version="v2.4.3")
    wrong = {"frequency": (0, 301), "agentport": (80, 65_536), "logLevel": ("loud",), "byteUnit": ("GB",)}
    for member, values in wrong.items():
        told = "spec.core.agentPort" if member == "agentport" else member
        for value in values:
            yield refused(f"{member} {value}", "PUT", path, {member: value}, NODE, message=told)
    yield done("GET", "/v1/nodes/n1/core/versions", None, NODE, versions=...)


def _of_a_stranger() -> Iterator[Row]:
    bodies = {"/mode": {"mode": "local"}, "/properties": {"state": {"desire": {}}}, "/core/configs": {}, "": {}}
    reads = ("", "/stats", "/apps", "/deploys", "/functions", "/init", "/properties", "/core/configs", "/core/versions")
    commands = ("/metrics", "/apps/web/logs", "/apps/web/describe", "/edgefunctions/f/logs")
    for part in (*reads, *commands):
        yield absent("GET", f"/v1/nodes/ghost{part}", "node", "ghost")
    for part, body in bodies.items():
        yield absent("PUT", f"/v1/nodes/ghost{part}", "node", "ghost", body)
    yield absent("DELETE", "/v1/nodes/ghost", "node", "ghost")
    yield absent("POST", "/v1/nodes/ghost/revoke", "node", "ghost")


def _commands() -> Iterator[Row]:
    for part in ("/metrics", "/edgefunctions/f/logs"):
        yield refused("no link", "GET", f"/v1/nodes/n1{part}", None, NODE, code="ErrNodeNotLinked")
    for part in ("logs", "describe"):
        path, told = f"/v1/nodes/n1/apps/web/{part}", "has not reported the application (web)"
        yield refused("not reported", "GET", path, None, NODE, status=404, code=NOT_FOUND, message=told)


def _fleet() -> Iterator[Row]:
    yield done("GET", "/v1/fleet/summary", None, NODE, nodes=..., applications=..., bindings=0)
    yield refused("no role", "GET", "/v1/fleet/summary", status=403, code=DENIED, by="nobody")
    yield done("GET", "/v1/fleet/scrape-targets", None, NODE)
    yield refused("no selector", "GET", "/v1/fleet/scrape-targets?selector=a in (", code=INVALID)
    yield done("GET", "/v1/fleet/rollouts/to-2", None, NODE, APP, ROLLOUT, target="web-2", groups=...)
    yield absent("GET", "/v1/fleet/rollouts/ghost", "rollout", "ghost")


ROWS = (*_creating(), *_listing(), *_one(), *_core(), *_of_a_stranger(), *_commands(), *_fleet())
