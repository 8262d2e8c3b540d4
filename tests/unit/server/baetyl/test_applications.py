"""Applications through the front door of fleets: what takes more than one request; of that, `facts` has every one."""

from typing import Any

from skerry.api.baetyl_applications import Application
from tests.unit.server.baetyl.conftest import Door

INVALID, NOT_FOUND, IN_USE = "ErrRequestParamInvalid", "ErrResourceNotFound", "ErrResourceHasBeenUsed"
SERVICE = {"name": "web", "image": "nginx"}
FUNCTION = {
    "name": "fun",
    "functionConfig": {"name": "code", "runtime": "python3"},
    "functions": [{"name": "hello", "handler": "index.handler", "codedir": "."}],
}


def body(name: str = "web", **members: Any) -> dict[str, Any]:
    return {"name": name, "type": "container", "selector": "site=lyon", "services": [SERVICE], **members}


async def make(door: Door, name: str = "web", query: str = "", **members: Any) -> Any:
    return await door.ask("POST", f"/v1/apps{query}", body(name, **members))


async def test_an_application_is_made_shown_changed_and_deleted(door: Door) -> None:
    await door.ask("POST", "/v1/nodes", {"name": "edge-1", "labels": {"site": "lyon"}})
    made = await make(door, labels={"team": "red"}, description="a server")
    assert (made["name"], made["selector"], made["type"], made["labels"]) == (
        "web",
        "site=lyon",
        "container",
        {"team": "red"},
    )
    assert made["services"][0]["image"] == "nginx"
    assert await door.ask("GET", "/v1/apps/web") == made
    stored = await door.client.get(Application, "web", namespace="default")
    assert (stored.spec.description, stored.metadata.resource_version) == ("a server", made["version"])
    (bound,) = (await door.ask("GET", "/v1/nodes/edge-1/apps"))["items"]
    assert (bound["name"], bound["version"]) == ("web", made["version"])

    changed = await door.ask("PUT", "/v1/apps/web", body("ignored", selector="site=oslo", services=[SERVICE]))
    assert int(changed["version"]) > int(made["version"])
    assert (changed["name"], changed["labels"], changed["description"]) == ("web", {}, "")
    assert (await door.ask("GET", "/v1/nodes/edge-1/apps"))["items"] == []
    assert await door.ask("DELETE", "/v1/apps/web") == {"success": True}
    assert (await door.refused("DELETE", "/v1/apps/web", status=404))[0] == NOT_FOUND


async def test_what_is_shown_can_be_sent_back_and_changes_nothing(door: Door) -> None:
    await door.ask("POST", "/v1/configs", {"name": "code"})
    function: Any = {"type": "function", "services": [FUNCTION]}
    for name, members in (("web", {}), ("fun", function)):
        made = await make(door, name, **members)
        assert await door.ask("PUT", f"/v1/apps/{name}", made) == made


async def test_lists_leave_out_what_runs(door: Door) -> None:
    await make(door, labels={"team": "red"})
    await make(door, "other")
    found = await door.ask("GET", "/v1/apps?selector=team=red")
    assert (found["total"], [item["name"] for item in found["items"]]) == (1, ["web"])
    assert not {"services", "volumes"} & found["items"][0].keys()
    assert found["items"][0]["createTime"]


async def test_a_function_application_gets_image_port_and_mounts(door: Door) -> None:
    await door.ask("POST", "/v1/configs", {"name": "code"})
    made = await make(door, "fun", type="function", services=[FUNCTION])
    (service,) = made["services"]
    assert service["image"].startswith("hub.baidubce.com/baetyl/function-python")
    assert [port["containerPort"] for port in service["ports"]] == [80]
    mounts = {mount["name"]: mount for mount in service["volumeMounts"]}
    config, code = mounts["baetyl-function-config-fun"], mounts["baetyl-function-code-code"]
    assert (config["mountPath"], config["readOnly"], config["immutable"]) == ("/etc/baetyl", True, True)
    assert (code["mountPath"], code["readOnly"]) == ("/var/lib/baetyl/code", True)
    volumes = {volume["name"]: volume["config"]["name"] for volume in made["volumes"]}
    assert volumes["baetyl-function-code-code"] == "code"
    assert volumes["baetyl-function-config-fun"].startswith("baetyl-function-config-fun-fun-")
    assert (await door.refused("DELETE", "/v1/configs/code", status=403))[0] == IN_USE
    await door.ask("POST", "/v1/nodes", {"name": "edge-1", "labels": {"site": "lyon"}})
    assert await door.ask("GET", "/v1/nodes/edge-1/functions") == {"functions": ["fun/hello"]}


async def test_an_application_can_be_based_on_another(door: Door) -> None:
    base: Any = {"services": [{"name": "log", "image": "fluent"}], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    await make(door, "ground", **base)
    mounting = {**SERVICE, "volumeMounts": [{"name": "tmp", "mountPath": "/scratch"}]}
    made = await make(door, "web", "?base=ground", services=[mounting])
    assert [service["name"] for service in made["services"]] == ["log", "web"]
    assert [volume["name"] for volume in made["volumes"]] == ["tmp"]
    assert (await door.refused("POST", "/v1/apps?base=none", body("new"), status=404))[0] == NOT_FOUND
    assert (await door.refused("POST", "/v1/apps?base=ground", body("new", type="helm")))[0] == INVALID
    twice = body("new", services=base["services"])
    assert (await door.refused("POST", "/v1/apps?base=ground", twice))[0] == "ErrAppNameConflict"


async def test_an_application_can_be_copied_and_the_body_goes_before(door: Door) -> None:
    await make(door, labels={"team": "red"}, description="first", replica=2)
    copy = await door.ask("POST", "/v1/apps?from=web", {"name": "copy", "selector": "site=oslo"})
    assert (copy["selector"], copy["description"], copy["replica"]) == ("site=oslo", "first", 2)
    assert (copy["labels"], copy["services"][0]["image"]) == ({"team": "red"}, "nginx")
    assert (await door.refused("POST", "/v1/apps?from=none", {"name": "new"}, status=404))[0] == NOT_FOUND


async def system_application(door: Door, **labels: str) -> None:
    document = {"metadata": {"name": "core", "namespace": "default", "labels": labels}, "spec": {"system": True}}
    new = Application.model_validate(document)
    new.spec.selector = "site=lyon"
    await door.client.create(new)


async def test_parts_of_nodes_keep_labels_and_selector_and_stay_while_they_are_bound(door: Door) -> None:
    await door.ask("POST", "/v1/nodes", {"name": "edge-1", "labels": {"site": "lyon"}})
    await system_application(door, **{"baetyl-cloud-system": "true"})
    assert (await door.ask("GET", "/v1/apps"))["total"] == 0
    assert (await door.ask("GET", "/v1/apps?selector=baetyl-cloud-system"))["total"] == 1
    changed = {"selector": "site=oslo", "labels": {"baetyl-cloud-system": "true"}}
    assert (await door.refused("PUT", "/v1/apps/core", changed))[0] == INVALID
    assert (await door.refused("DELETE", "/v1/apps/core"))[0] == "ErrAppReferencedByNode"
    await door.ask("DELETE", "/v1/nodes/edge-1")
    await door.ask("DELETE", "/v1/apps/core")


async def test_what_was_made_for_an_application_is_listed_by_its_kind(door: Door) -> None:
    await make(door)
    labels = {"baetyl-app-name": "web"}
    await door.ask("POST", "/v1/configs", {"name": "mine", "labels": labels})
    await door.ask("POST", "/v1/configs", {"name": "other"})
    await door.ask("POST", "/v1/secrets", {"name": "key", "labels": labels, "data": {}})
    for part, names in (("configs", ["mine"]), ("secrets", ["key"]), ("registries", []), ("certificates", [])):
        found = await door.ask("GET", f"/v1/apps/web/{part}")
        assert [item["name"] for item in found["items"]] == names
        assert (await door.refused("GET", f"/v1/apps/none/{part}", status=404))[0] == NOT_FOUND
