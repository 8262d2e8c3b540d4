"""Configurations through the front door of fleets: what takes more than one request; of that, `facts` has every one."""

from typing import Any

from skerry.api.baetyl_configurations import Configuration
from tests.unit.server.baetyl.conftest import Door

INVALID, NOT_FOUND = "ErrRequestParamInvalid", "ErrResourceNotFound"
TEXT = {"key": "conf.yml", "value": {"type": "kv", "value": "a: 1"}}
STORED = {"type": "object", "source": "awss3", "endpoint": "https://s3.example", "bucket": "b", "object": "func.zip"}
KEYS = {"ak": "the-access-key", "sk": "the-secret-key"}
FUNCTION = {
    "type": "function",
    "function": "process",
    "version": "1",
    "runtime": "python36",
    "handler": "index.handler",
}


async def make(door: Door, *data: Any, name: str = "conf", **more: Any) -> Any:
    return await door.ask("POST", "/v1/configs", {"name": name, "data": list(data), **more})


async def use(door: Door, app: str = "web", config: str = "conf", **more: Any) -> Any:
    volumes = [{"name": "v", "config": {"name": config}}]
    services = [{"name": "web", "image": "nginx"}]
    body = {"name": app, "selector": "site=lyon", "services": services, "volumes": volumes, **more}
    return await door.ask("POST", "/v1/apps", body)


async def test_a_configuration_is_made_shown_changed_and_deleted(door: Door) -> None:
    made = await make(door, TEXT, labels={"tier": "dev"}, description="settings")
    assert (made["data"], made["labels"], made["description"]) == ([TEXT], {"tier": "dev"}, "settings")
    assert made["createTime"]
    assert made["updateTime"]
    assert await door.ask("GET", "/v1/configs/conf") == made
    assert (await door.client.get(Configuration, "conf", namespace="default")).data == {"conf.yml": "a: 1"}
    (item,) = (await door.ask("GET", "/v1/configs?selector=tier=dev"))["items"]
    assert ("data" in item, item["version"]) == (False, made["version"])
    assert await door.ask("DELETE", "/v1/configs/conf") == {"success": True}
    assert await door.refused("DELETE", "/v1/configs/conf", status=404) == (
        NOT_FOUND,
        "The (config) resource (conf) is not found.",
    )


async def test_keys_of_storages_are_kept_and_never_given_back(door: Door) -> None:
    made = await make(door, {"key": "code", "value": {**STORED, **KEYS, "md5": "d41d8cd98f00b204e9800998ecf8427e"}})
    assert made["data"][0]["value"] == {**STORED, "md5": "d41d8cd98f00b204e9800998ecf8427e"}
    changed = await door.ask("PUT", "/v1/configs/conf", {"data": made["data"], "description": "again"})
    for answer in (made, changed, await door.ask("GET", "/v1/configs/conf"), await door.ask("GET", "/v1/configs")):
        assert not any(key in str(answer) for key in KEYS.values())
    stored = (await door.client.get(Configuration, "conf", namespace="default")).objects or {}
    assert (stored["code"].ak, stored["code"].sk) == (KEYS["ak"], KEYS["sk"])


async def test_items_are_read_by_their_type_and_of_one_key_the_last_one_counts(door: Door) -> None:
    url = {"type": "object", "source": "http", "url": "https://files.example/a.zip", "unpack": "zip"}
    function = {**FUNCTION, "source": "awss3", "bucket": "b", "object": "process.zip"}
    made = await make(
        door,
        {"key": "a", "value": {"type": "kv", "value": "first"}},
        {"key": "a", "value": url},
        {"key": "f", "value": {**function, "colour": "red"}},
        {"key": "gone", "value": {"type": "riddle"}},
        {"key": "nothing"},
    )
    assert made["data"] == [{"key": "a", "value": url}, {"key": "f", "value": function}]


async def test_an_equal_update_changes_no_version_and_another_one_reaches_applications(door: Door) -> None:
    made = await make(door, TEXT, labels={"tier": "dev"})
    app = await use(door)
    same = await door.ask("PUT", "/v1/configs/conf", {"data": [TEXT], "labels": {"tier": "dev"}})
    assert same["version"] == made["version"]
    assert (await door.ask("GET", "/v1/apps/web"))["version"] == app["version"]
    changed = await door.ask("PUT", "/v1/configs/conf", {"data": [{**TEXT, "value": {"type": "kv", "value": "a: 2"}}]})
    assert (await door.ask("GET", "/v1/apps/web"))["version"] == changed["version"] > app["version"]
    (item,) = (await door.ask("GET", "/v1/configs/conf/apps"))["items"]
    assert (item["name"], item["version"]) == ("web", changed["version"])


async def test_what_an_application_mounts_can_not_be_deleted(door: Door) -> None:
    await make(door)
    await use(door)
    word, message = await door.refused("DELETE", "/v1/configs/conf", status=403)
    assert (word, "used by the applications web" in message) == ("ErrResourceHasBeenUsed", True)
    await door.ask("DELETE", "/v1/apps/web")
    await door.ask("DELETE", "/v1/configs/conf")


async def test_what_skerry_made_is_hidden_from_lists_and_keeps_its_labels(door: Door) -> None:
    system = {"baetyl-cloud-system": "true"}
    await make(door, labels=system)
    assert (await door.ask("GET", "/v1/configs"))["items"] == []
    assert len((await door.ask("GET", "/v1/configs?selector=baetyl-cloud-system"))["items"]) == 1
    assert "labels" in (await door.refused("PUT", "/v1/configs/conf", {"labels": {}}))[1]
    await door.ask("PUT", "/v1/configs/conf", {"labels": system, "description": "mine"})
