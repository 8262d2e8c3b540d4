"""The rows of applications."""

from collections.abc import Iterator
from typing import Any

from tests.unit.server.baetyl.facts.rows import IN_USE, INVALID, LONG, RESERVED, Row, Step, absent, done, post, refused

SERVICE = {"name": "web", "image": "nginx"}
FUNCTION = {"name": "fun", "functionConfig": {"name": "code", "runtime": "python3"}, "functions": [{"name": "f"}]}
NODE = post("/v1/nodes", {"name": "n1", "labels": {"site": "lyon"}})
CONFIG = post("/v1/configs", {"name": "code"})
REGISTRY = post("/v1/registries", {"name": "hub", "address": "a", "username": "u", "password": "p"})


def body(name: str = "web", **members: Any) -> dict[str, Any]:
    return {"name": name, "type": "container", "selector": "site=lyon", "services": [SERVICE], **members}


def serving(**members: Any) -> dict[str, Any]:
    return {"services": [{**SERVICE, **members}]}


APP = post("/v1/apps", body())
FUNCTIONS = post("/v1/apps", body("fun", type="function", services=[FUNCTION]))
SYSTEM = Step(
    "CREATE",
    "Application",
    {
        "metadata": {"name": "core", "labels": {"baetyl-cloud-system": "true"}},
        "spec": {"system": True, "selector": "site=lyon"},
    },
)
HIDDEN = Step(
    "CREATE",
    "Application",
    {"metadata": {"name": "core", "labels": {"resource-invisible": "true"}}, "spec": {"selector": "site=lyon"}},
)
CONFLICT, NO_VOLUME = "ErrAppNameConflict", "ErrVolumeNotFoundWhenMount"
SCALED = {"metrics": [{"type": "Resource", "resource": {"name": "disk"}}], "minReplicas": 1, "maxReplicas": 2}

#: What neither a new application is, nor one that is changed: by the code, what breaks it and where that is told.
_RULES: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("no type of those", INVALID, {"type": "vm"}, "type"),
    ("no selector", INVALID, {"selector": "a in ("}, "spec.selector"),
    ("a selector's value is too long", INVALID, {"selector": f"a={LONG}"}, "spec.selector"),
    ("a label's value is too long", INVALID, {"labels": {"a": LONG}}, "63 characters"),
    ("no image", INVALID, {"services": [{"name": "web"}]}, "spec.services[0].image"),
    ("no program", INVALID, {"mode": "native", "services": [{"name": "web"}]}, "spec.services[0].programConfig"),
    ("no name of a service", INVALID, serving(name="web.1"), "spec.services[0].name"),
    ("functionConfig of a container", INVALID, serving(functionConfig={"runtime": "python3"}), "functionConfig"),
    ("functions of a container", INVALID, serving(functions=[{"name": "f"}]), "functions"),
    ("no functionConfig of a function", INVALID, {"type": "function"}, "functionConfig"),
    ("no quantity", INVALID, serving(resources={"limits": {"memory": "512a"}}), "limits[memory]"),
    ("replicas at one port", INVALID, serving(ports=[{"hostPort": 80}], replica=2), "hostPort"),
    ("a port twice", INVALID, serving(ports=[{"hostPort": 80}, {"hostPort": 80}]), "hostPort"),
    (
        "a port twice, of an init service",
        INVALID,
        {
            **serving(ports=[{"hostPort": 80}]),
            "initServices": [{"name": "a", "image": "b", "ports": [{"hostPort": 80}]}],
        },
        "hostPort",
    ),
    ("NodePort without a port", INVALID, serving(ports=[{"serviceType": "NodePort"}]), "nodePort"),
    ("services that are no list", INVALID, {"services": "web"}, "services"),
    ("a service twice", CONFLICT, {"services": [SERVICE, SERVICE]}, "(web)"),
    ("a volume twice", CONFLICT, {"volumes": [{"name": "v", "emptyDir": {}}] * 2}, "(v)"),
    ("a mount without its volume", NO_VOLUME, serving(volumeMounts=[{"name": "v"}]), "v"),
    ("a volume of nothing", INVALID, {"volumes": [{"name": "v"}]}, "exactly one"),
    ("no workload of those", INVALID, {"workload": "pod"}, "workload"),
    ("a clock without a time", INVALID, {"cronStatus": 1}, "cronTime"),
    ("a time that has passed", INVALID, {"cronStatus": 1, "cronTime": "2020-01-01T00:00:00Z"}, "cronTime"),
    ("fewer than it may have", INVALID, {"autoScaleCfg": {"minReplicas": 2, "maxReplicas": 1}}, "maxReplicas"),
    ("none at least", INVALID, {"autoScaleCfg": {"minReplicas": 0, "maxReplicas": 1}}, "minReplicas"),
    ("no measure of those", INVALID, {"autoScaleCfg": SCALED}, "resource.name"),
    ("Baetyl's own namespace", INVALID, {"labels": {"baetyl-custom-namespace": "baetyl-edge"}}, "Baetyl's own"),
)
#: What an application names, and is not there.
_NAMED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("config", "none", {"volumes": [{"name": "v", "config": {"name": "none"}}]}),
    ("secret", "none", {"volumes": [{"name": "v", "secret": {"name": "none"}}]}),
    ("certificate", "none", {"volumes": [{"name": "v", "certificate": {"name": "none"}}]}),
    ("registry", "none", {"registries": [{"name": "none"}]}),
    ("config", "code", {"type": "function", "services": [FUNCTION]}),
    ("runtime", "cobol", {"type": "function", "services": [{"name": "f", "functionConfig": {"runtime": "cobol"}}]}),
)


def _creating() -> Iterator[Row]:
    yield done("POST", "/v1/apps", body(), name="web", selector="site=lyon", version=...)
    yield done("POST", "/v1/apps?base=web", body("new", services=[]), APP, services=...)
    yield done("POST", "/v1/apps?from=web", {"name": "new"}, APP, selector="site=lyon")
    yield refused("the name is taken", "POST", "/v1/apps", body(), APP, status=403, code=IN_USE, message="in use")
    yield refused("a reserved name, first", "POST", "/v1/apps", body("my-baetyl", type="vm"), code=RESERVED)
    for name in ("", "x", "Web", "a" * 56):
        yield refused(f"{name or 'nothing'} is no name", "POST", "/v1/apps", body(name), message="name")
    function = body(type="function", services=[FUNCTION], registries=[{"name": "hub"}])
    yield refused("registries of a function", "POST", "/v1/apps", function, CONFIG, REGISTRY, message="registries")
    yield absent("POST", "/v1/apps?base=ghost", "app", "ghost", body("new"))
    yield absent("POST", "/v1/apps?from=ghost", "app", "ghost", body("new"))
    yield refused("base is of another type", "POST", "/v1/apps?base=web", body("new", type="helm"), APP, message="type")
    yield refused("base has a service of that name", "POST", "/v1/apps?base=web", body("new"), APP, code=CONFLICT)
    for fact, code, members, message in _RULES:
        yield refused(fact, "POST", "/v1/apps", body(**members), code=code, message=message)
    for sort, name, members in _NAMED:
        yield absent("POST", "/v1/apps", sort, name, body(**members))


def _changing() -> Iterator[Row]:
    yield done("PUT", "/v1/apps/web", body(description="new"), APP, name="web", description="new")
    yield absent("PUT", "/v1/apps/ghost", "app", "ghost", body())
    for fact, code, members, message in _RULES:
        yield refused(fact, "PUT", "/v1/apps/web", body(**members), APP, code=code, message=message)
    for sort, name, members in _NAMED:
        if members.get("type") != "function":
            yield absent("PUT", "/v1/apps/web", sort, name, body(**members), APP)
    unknown = {**FUNCTION, "functionConfig": {"name": "code", "runtime": "cobol"}}
    changed = body(type="function", services=[unknown])
    yield absent("PUT", "/v1/apps/fun", "runtime", "cobol", changed, CONFIG, FUNCTIONS)
    yield refused("another type", "PUT", "/v1/apps/web", body(type="helm"), APP, message="spec.type")
    kept = {"baetyl-cloud-system": "true"}
    for fact, members in (
        ("a system's labels", {"selector": "site=lyon"}),
        ("a system's selector", {"labels": kept, "selector": "site=oslo"}),
    ):
        yield refused(fact, "PUT", "/v1/apps/core", {**members, "services": []}, SYSTEM, message="system application")
    yield refused("an invisible one", "PUT", "/v1/apps/core", body(), HIDDEN, code="ErrResourceInvisible")


def _reading() -> Iterator[Row]:
    yield done("GET", "/v1/apps", None, APP, SYSTEM, total=1)
    yield refused("no selector", "GET", "/v1/apps?selector=a in (")
    yield done("GET", "/v1/apps/web", None, APP, name="web", services=...)
    yield absent("GET", "/v1/apps/ghost", "app", "ghost")
    yield refused("an invisible one", "GET", "/v1/apps/core", None, HIDDEN, code="ErrResourceInvisible")
    for part in ("configs", "secrets", "registries", "certificates"):
        yield done("GET", f"/v1/apps/web/{part}", None, APP, total=0, items=[])
        yield absent("GET", f"/v1/apps/ghost/{part}", "app", "ghost")


def _deleting() -> Iterator[Row]:
    yield done("DELETE", "/v1/apps/web", None, NODE, APP, success=True)
    yield absent("DELETE", "/v1/apps/ghost", "app", "ghost")
    yield refused("a reserved name", "DELETE", "/v1/apps/my-baetyl", code=RESERVED)
    yield refused("a system's", "DELETE", "/v1/apps/core", None, NODE, SYSTEM, code="ErrAppReferencedByNode")


ROWS = (*_creating(), *_changing(), *_reading(), *_deleting())
